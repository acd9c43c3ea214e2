import type { Backlogged } from '../../rpc/durable-message.ts'
import type { SelfCheckCounts } from '../../rpc/self-check.ts'
import type { Transport } from '../../rpc/transport.ts'
import type { AuditSummary } from '../../scheduler/audit/audit-log.ts'

/** One condition of being ready. */
export interface ReadinessCheck {
  readonly name: string
  /** Why not, in words for an operator; undefined: ready. @throws the signal's reason, or whatever went wrong */
  trouble(signal: AbortSignal): Promise<string | undefined>
}

/** What a server tells about itself. */
export interface WatchedServer {
  readonly queues: readonly string[]
  readonly isServing: boolean
  /** It takes what waits by the clock: mostly its queue has no consumer. */
  readonly isGathering: boolean
  lastTakenSentAtMs(queue: string): number | undefined
}

/** The parts of a worker that is put together. */
export interface WatchedWorker {
  /** Its own, and those that it has by a name that it shares with others. */
  readonly servers: readonly WatchedServer[]
  readonly selfCheck: { readonly counts: SelfCheckCounts }
  /** Where its messages wait until they are sent, if it stores any. */
  readonly store?: Backlogged
  /** What the last audit of the cloud found: of schedulers. */
  readonly audit?: { last(): Promise<AuditSummary | undefined> }
  /** What it knows of hosts, how often others were faster, and reports that it did not take, by code: of schedulers. */
  readonly scheduling?: {
    readonly hosts: { readonly ageSeconds: number | undefined }
    readonly lostClaims: number
    readonly reports: { readonly refused: ReadonlyMap<string, number> }
  }
  /** Beyond the broker and its own server. */
  readonly checks: readonly ReadinessCheck[]
}

/** What is known before, and after. */
export interface WatchedProcess {
  readonly transport: Pick<Transport, 'state' | 'blocked' | 'counts' | 'inspect'>
  /** Where dead letters are parked. */
  readonly deadLetterQueue: string
  /** Undefined while it starts. */
  readonly worker: WatchedWorker | undefined
}
