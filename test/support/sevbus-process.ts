import { type ChildProcess, spawn } from 'node:child_process'
import { startWatchdog } from '../../src/servers/watchdog.ts'
import { waitFor } from './wait-for.ts'

/** Longer than any may take to end on a busy machine, or to say that it is ready, in milliseconds. */
const PATIENCE_MS = 60_000

/** One `sevbus …` in an operating-system process of its own, as an operator starts it. */
export class SevbusProcess {
  readonly #child: ChildProcess
  #output = ''
  readonly #exited: Promise<number | string>
  #ended: number | string | undefined

  constructor(args: readonly string[], env: NodeJS.ProcessEnv) {
    this.#child = spawn(process.execPath, ['bin/sevbus.js', ...args], {
      env: { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR, ...env },
      // A group of its own, which a watchdog ends when the test run is killed.
      detached: true,
    })
    const watchdog = startWatchdog()
    if (this.#child.pid !== undefined) watchdog.watchGroup(this.#child.pid, 'SIGKILL')
    this.#child.on('close', () => void watchdog.dismiss())
    const collect = (chunk: Buffer) => {
      this.#output += chunk.toString()
    }
    this.#child.stdout?.on('data', collect)
    this.#child.stderr?.on('data', collect)
    this.#exited = new Promise((resolve) => {
      this.#child.on('close', (code, signal) => {
        this.#ended = code ?? signal ?? 'unknown'
        resolve(this.#ended)
      })
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get output(): string {
    return this.#output
  }

  /** Its exit code, or the name of the signal that ended it; undefined while it runs. */
  get ended(): number | string | undefined {
    return this.#ended
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Waits for its exit code, or the name of the signal that ended it; one that does not end fails with its output. */
  async exited(): Promise<number | string> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`does not end:\n${this.#output}`)), PATIENCE_MS)
    })
    return Promise.race([this.#exited, late]).finally(() => clearTimeout(timer))
  }

  /** Waits until it has printed this. */
  async said(text: string): Promise<void> {
    const check = () => {
      if (!this.#output.includes(text)) throw new Error(`not said: ${text}\n${this.#output}`)
    }
    await waitFor(check, { timeoutMs: PATIENCE_MS })
  }
}

/** One command from its start to its end: its exit code, and all that it said. */
export async function runSevbus(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<{ readonly code: number | string; readonly out: string }> {
  const process = new SevbusProcess(args, env)
  const code = await process.exited()
  return { code, out: process.output }
}
