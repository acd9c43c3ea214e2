import type { ReadinessCheck, WatchedProcess } from './watched.ts'

/** A check that takes longer has failed, in milliseconds: whoever asks waits no longer either. */
const CHECK_TIMEOUT_MS = 2_000

export interface Health {
  readonly ok: boolean
  /** A line for each check: `[+] broker`, `[-] database: does not answer`. */
  readonly text: string
}

/** May this worker be given work? Asks everything, so that all that is wrong is told together. */
export async function readiness(watched: WatchedProcess): Promise<Health> {
  const checks = [broker(watched), serving(watched), ...(watched.worker?.checks ?? [])]
  const lines = await Promise.all(checks.map(async (check) => ({ name: check.name, trouble: await troubleOf(check) })))
  return {
    ok: lines.every(({ trouble }) => trouble === undefined),
    text: lines
      .map(({ name, trouble }) => (trouble === undefined ? `[+] ${name}\n` : `[-] ${name}: ${trouble}\n`))
      .join(''),
  }
}

/** Should this process go on? Only what it cannot mend by itself ends it: an outage around it does not. */
export function liveness(broken: Error | undefined): Health {
  return broken === undefined
    ? { ok: true, text: '[+] worker\n' }
    : { ok: false, text: `[-] worker: ${broken.message}\n` }
}

async function troubleOf(check: ReadinessCheck): Promise<string | undefined> {
  const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS)
  const late = new Promise<string>((resolve) => {
    signal.addEventListener('abort', () => resolve(`no answer within ${CHECK_TIMEOUT_MS} ms`))
  })
  return await Promise.race([late, check.trouble(signal).catch((error: unknown) => (error as Error).message)])
}

function broker({ transport }: WatchedProcess): ReadinessCheck {
  return {
    name: 'broker',
    async trouble() {
      if (transport.state !== 'connected') return `not connected (${transport.state})`
      return transport.blocked === undefined ? undefined : `it takes no messages now: ${transport.blocked}`
    },
  }
}

function serving({ transport, worker }: WatchedProcess): ReadinessCheck {
  return {
    name: 'server',
    async trouble(signal) {
      if (worker === undefined) return 'it has not started yet'
      if (!worker.servers.every(({ isServing }) => isServing))
        return 'it takes no requests: starting, draining, or not the worker of its host'
      // That is the broker's trouble, and said there.
      if (transport.state !== 'connected') return undefined
      const troubles = await Promise.all(
        worker.servers.flatMap(({ queues, isGathering }) =>
          queues.map((queue) => queueTrouble(transport, { queue, isGathering }, signal)),
        ),
      )
      return troubles.find((trouble) => trouble !== undefined)
    },
  }
}

/** A connection may be well and its consumers lost; the self-check mends that, at its interval. */
async function queueTrouble(
  transport: WatchedProcess['transport'],
  { queue, isGathering }: { readonly queue: string; readonly isGathering: boolean },
  signal: AbortSignal,
): Promise<string | undefined> {
  const state = await transport.inspect(queue, signal)
  if (state === undefined) return `its queue ${queue} is gone`
  return state.consumers === 0 && !isGathering ? `nobody consumes its queue ${queue}` : undefined
}
