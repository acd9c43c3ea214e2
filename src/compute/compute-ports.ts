import type { Logger } from 'pino'
import type { RpcClient } from '../rpc/client.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import type { GuestPatience } from './actions/guest-patience.ts'
import type { Journal } from './journal/journal.ts'
import type { DomainOptions } from './libvirt/domain-options.ts'
import type { SlotLimits } from './libvirt/slot-limits.ts'
import type { ProvenGuests } from './proven-guests.ts'
import type { VirtDriver } from './virt-driver.ts'

/** What the parts of a compute worker work with. */
export interface ComputePorts {
  readonly host: string
  readonly driver: VirtDriver
  readonly journal: Journal
  /** Hears that the journal has something to send: the relay. */
  readonly outbox: { announce(): void }
  readonly client: Pick<RpcClient, 'of' | 'message'>
  readonly logger: Logger
  readonly domainOptions: DomainOptions
  readonly proven: ProvenGuests
  /** The operator's, of the guests with each model. */
  readonly slotLimits: SlotLimits
  /** With guests that are asked to shut down, and to let a device go. */
  readonly shutdown: GuestPatience
  readonly unplug: GuestPatience
  readonly retryDelaysMs: readonly number[]
  readonly now: () => Date
  /** Tells those who watch of work that failed in a way that it did not foresee. */
  readonly tellException: (thrown: unknown, failed: string, context: RequestContext) => Promise<void>
}

/** How work is told to end. */
export interface StopSignals {
  /** Begin nothing more. */
  readonly draining: AbortSignal
  /** The grace is over: undo what is not done, and leave it to the next start. */
  readonly stopping: AbortSignal
}

/** ISO 8601 in UTC. */
export function timestamp({ now }: Pick<ComputePorts, 'now'>): string {
  return now().toISOString()
}
