import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const TICK_MS = 10

export interface Spent {
  readonly cpuMs: number
  /** How often a thread of it went to sleep, and so was woken again. */
  readonly wakeUps: number
  readonly wallMs: number
}

export interface MeasuredProcess {
  /** Since its start. */
  spent(): Omit<Spent, 'wallMs'>
  /** @param field of /proc/PID/status, in KiB there */
  mib(field: string): number
  end(): Promise<void>
}

/** @param ready what it writes to stderr when it can begin */
export async function startMeasured(
  args: readonly string[],
  ready: RegExp,
  env: NodeJS.ProcessEnv = {},
): Promise<MeasuredProcess> {
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] })
  for await (const line of createInterface({ input: child.stderr })) if (ready.test(line)) break
  child.stderr.resume()
  const field = (file: string, name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${child.pid}/${file}`, 'utf8'))?.[1])
  return {
    spent() {
      const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8')
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      const threads = readdirSync(`/proc/${child.pid}/task`)
      return {
        cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
        wakeUps: threads.reduce((sum, tid) => sum + field(`task/${tid}/status`, 'voluntary_ctxt_switches'), 0),
      }
    },
    mib: (name) => field('status', name) / 1024,
    async end() {
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

/** What each of them spent while the work was done. */
export async function spendOf<const Processes extends readonly MeasuredProcess[]>(
  processes: Processes,
  work: () => Promise<unknown>,
): Promise<{ [K in keyof Processes]: Spent }> {
  const before = processes.map((one) => one.spent())
  const began = performance.now()
  await work()
  const wallMs = performance.now() - began
  const spent = processes.map((one, n) => {
    const now = one.spent()
    const was = before[n] as (typeof before)[number]
    return { cpuMs: now.cpuMs - was.cpuMs, wakeUps: now.wakeUps - was.wakeUps, wallMs }
  })
  return spent as { [K in keyof Processes]: Spent }
}
