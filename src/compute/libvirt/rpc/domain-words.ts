/**
 * libvirt's numbers in words. Source: libvirt/libvirt-domain.h, where they are only ever added to; what is newer than
 * these tables keeps its number.
 */

const STATES = ['nostate', 'running', 'blocked', 'paused', 'shutdown', 'shutoff', 'crashed', 'pmsuspended'] as const
export type DomainState = (typeof STATES)[number] | 'unknown'

/** virDomainRunningReason and its siblings. */
const REASONS: Partial<Record<DomainState, readonly string[]>> = {
  running:
    'unknown booted migrated restored from_snapshot unpaused migration_canceled save_canceled wakeup crashed postcopy'.split(
      ' ',
    ),
  paused:
    'unknown user migration save dump ioerror watchdog from_snapshot shutting_down snapshot crashed starting_up postcopy postcopy_failed'.split(
      ' ',
    ),
  shutdown: ['unknown', 'user'],
  shutoff: 'unknown shutdown destroyed crashed migrated saved failed from_snapshot daemon'.split(' '),
  crashed: ['unknown', 'panicked'],
}

export interface StateAndReason {
  readonly state: DomainState
  readonly reason: string
}

export function stateInWords(state: number, reason: number): StateAndReason {
  const word = STATES[state] ?? 'unknown'
  return { state: word, reason: REASONS[word]?.[reason] ?? `reason ${reason}` }
}

/** virDomainEventType, and for each the details (virDomainEventDefinedDetailType and its siblings). */
const LIFECYCLE = [
  ['defined', ['added', 'updated', 'renamed', 'from_snapshot']],
  ['undefined', ['removed', 'renamed']],
  ['started', ['booted', 'migrated', 'restored', 'from_snapshot', 'wakeup']],
  [
    'suspended',
    'paused migrated ioerror watchdog restored from_snapshot api_error postcopy postcopy_failed'.split(' '),
  ],
  ['resumed', ['unpaused', 'migrated', 'from_snapshot', 'postcopy']],
  ['stopped', 'shutdown destroyed crashed migrated saved failed from_snapshot'.split(' ')],
  ['shutdown', ['finished', 'guest', 'host']],
  ['pmsuspended', ['memory', 'disk']],
  ['crashed', ['panicked', 'crashloaded']],
] as const satisfies readonly (readonly [string, readonly string[]])[]

export type LifecycleEvent = (typeof LIFECYCLE)[number][0] | 'unknown'

export function lifecycleInWords(event: number, detail: number): { event: LifecycleEvent; detail: string } {
  const [word, details]: readonly [LifecycleEvent, readonly string[]] = LIFECYCLE[event] ?? ['unknown', []]
  return { event: word, detail: details[detail] ?? `detail ${detail}` }
}
