import { EXIT } from '../exit-codes.ts'
import { printJson } from '../output.ts'
import type { GlobalOptions } from '../session.ts'
import type { DemoObserver } from './facts.ts'
import { liveScreen } from './live-screen.ts'
import { plainScreen } from './plain-screen.ts'
import { runDemo } from './run.ts'

/** The main job on embedded defaults: in-process bus, embedded database, simulated hosts. */
export async function demo(options: GlobalOptions): Promise<number> {
  // It keeps nothing, so there is nothing to drain.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(EXIT.INTERRUPTED))
  const facts = await runDemo(screenFor(options), options.debug ? 'debug' : 'error')
  if (options.json) printJson(facts)
  return EXIT.OK
}

function screenFor({ json }: GlobalOptions): DemoObserver {
  if (json) return silent
  return process.stdout.isTTY ? liveScreen(process.stdout) : plainScreen()
}

const silent: DemoObserver = { step() {}, instance() {}, refusal() {}, notification() {}, hosts() {}, end() {} }
