import { type Logger, pino } from 'pino'
import type { NotificationNames } from '../../src/notifications/notification.ts'
import type { BusNames } from '../../src/rpc/names.ts'
import { Ledger } from './ledger.ts'

/** What a process of the soak is told by its first message. */
export interface Settings {
  readonly name: string
  /** `sender-1#2`: made anew with each life, so that ids never repeat. */
  readonly life: string
  /** Of the broker, through this process's own line. */
  readonly url: string
  readonly databaseUrl: string
  readonly names: BusNames
  readonly notifications: NotificationNames
  readonly ledgerPath: string
  readonly logPath: string
  readonly seed: number
  /** Senders begin so many messages a second. */
  readonly messagesPerSecond: number
  /** And have no more of them under way. */
  readonly maxInFlight: number
  /** Names of servers, for calls to one of them. */
  readonly servers: readonly string[]
}

export type ToMember =
  | { readonly type: 'begin'; readonly settings: Settings }
  /** Send nothing more; tell when what is on its way has ended. */
  | { readonly type: 'stop' }
  /** Close everything and end. */
  | { readonly type: 'end' }

export type FromMember =
  | { readonly type: 'ready' }
  /** So far: `done` are those that went well. */
  | { readonly type: 'sent'; readonly messages: number; readonly done: number }
  | { readonly type: 'reply queue'; readonly queue: string }
  | { readonly type: 'stopped' }

export interface Work {
  /** Nothing new; resolves when what was begun has ended. */
  readonly stop?: () => Promise<void>
  readonly close: () => Promise<void>
}

export interface Means {
  readonly settings: Settings
  readonly ledger: Ledger
  readonly logger: Logger
  readonly tell: (message: FromMember) => void
  /** One more message that this process has had to do with. */
  readonly count: () => void
}

/** Nothing happens to the database: who waits for it waits for the machine. */
export const CONNECT_MS = 60_000
/** Less than a fault may take to be over: a broker that hangs with a queue that was deleted under it is asked anew. */
export const ANSWER_MS = 5_000
const MEMORY_INTERVAL_MS = 1_500
const TICK_MS = 25

/** The frame of each process: begins its work when told, notes its memory, ends in order or with its parent. */
export function member(begin: (means: Means) => Promise<Work>): void {
  let work: Promise<Work> | undefined
  let finish = () => {}
  const tell = (message: FromMember) => void process.send?.(message)
  process.once('disconnect', () => process.exit(1))
  process.on('message', (message: ToMember) => {
    void (async () => {
      if (message.type === 'begin') {
        const { ledgerPath, logPath } = message.settings
        const ledger = new Ledger(ledgerPath)
        const logger = pino({ level: 'info' }, pino.destination({ dest: logPath, sync: true }))
        const { count, stop } = noteMemory(ledger)
        const stopTicking = noteStalls(ledger)
        finish = () => {
          stop()
          stopTicking()
          ledger.write({ type: 'finished' })
        }
        work = begin({ settings: message.settings, ledger, logger, tell, count })
        await work
        tell({ type: 'ready' })
      } else if (message.type === 'stop') {
        await (await work)?.stop?.()
        tell({ type: 'stopped' })
      } else {
        await (await work)?.close()
        finish()
        // Whatever still keeps the process alive is a leak that the runner sees: it must end by itself.
        process.removeAllListeners('disconnect')
        process.disconnect()
      }
    })()
  })
}

function noteMemory(ledger: Ledger) {
  const { gc } = globalThis
  if (gc === undefined) throw new Error('start it with --expose-gc')
  let messages = 0
  const timer = setInterval(() => {
    gc()
    const { heapUsed, external } = process.memoryUsage()
    ledger.write({ type: 'memory', bytes: heapUsed + external, messages })
  }, MEMORY_INTERVAL_MS)
  const count = () => {
    messages++
  }
  return { count, stop: () => clearInterval(timer) }
}

/** A timer that is late by more than a tick of its own tells how late all timers of this process are. */
function noteStalls(ledger: Ledger): () => void {
  let last = performance.now()
  const timer = setInterval(() => {
    const ms = performance.now() - last - TICK_MS
    if (ms > TICK_MS) ledger.write({ type: 'stalled', ms })
    last = performance.now()
  }, TICK_MS)
  return () => clearInterval(timer)
}
