import type { AnyNotification } from '../../../src/notifications/notification.ts'
import { oneOf } from '../../soak/random.ts'
import { told } from '../told.ts'

export const MONTH = { from: '2026-11-01T00:00:00Z', to: '2026-12-01T00:00:00Z' }
const BEGIN_MS = Date.parse(MONTH.from)
export const END_MS = Date.parse(MONTH.to)
export const DAY_MS = 86_400_000
/** Lives go on a day longer: what comes after the month must not be in its bill. */
const LAST_MS = END_MS + DAY_MS

const FLAVORS = [
  { name: 'm1.sev', vcpus: 2, memory_mb: 4096 },
  { name: 'm1.large', vcpus: 8, memory_mb: 16_384 },
  { name: 'odd', vcpus: 3, memory_mb: 1000 },
] as const
const MODELS = [null, 'amd-sev', 'amd-sev-es'] as const
const HOSTS = ['node1', 'node2', 'node3', 'node4'] as const

/** What the clock of a host shows beside the true time: hosts are warned of when it is more than a minute off. */
export type Clocks = Readonly<Record<string, number>>

export function clocksOf(random: () => number): Clocks {
  return Object.fromEntries(HOSTS.map((host) => [host, Math.floor((random() * 2 - 1) * 60_000)]))
}

/** How it is from a moment on, as it really is. */
export interface Stretch {
  readonly fromMs: number
  /** By the clock of its host. */
  readonly toldMs: number
  /** Null: it is shelved, and on none. */
  readonly host: string | null
  readonly flavor: (typeof FLAVORS)[number]
  readonly model: string | null
  readonly state: string
}

/** One instance: what it really did, and what was told of it, in the order in which it was so. */
export interface Life {
  readonly uuid: string
  readonly stretches: readonly Stretch[]
  readonly endMs: number | undefined
  readonly endToldMs: number | undefined
  readonly project: string
  readonly told: readonly { readonly atMs: number; readonly notification: AnyNotification }[]
}

const ACTS = [
  { event: 'power_off', from: ['active'], becomes: 'stopped' },
  { event: 'power_on', from: ['stopped'], becomes: 'active' },
  { event: 'reboot', from: ['active', 'stopped', 'paused'], becomes: 'active' },
  { event: 'pause', from: ['active'], becomes: 'paused' },
  { event: 'unpause', from: ['paused'], becomes: 'active' },
  { event: 'rescue', from: ['active', 'stopped'], becomes: 'rescued' },
  { event: 'unrescue', from: ['rescued'], becomes: 'active' },
  { event: 'resize', from: ['active', 'stopped'], becomes: 'resized' },
  { event: 'rebuild', from: ['active', 'stopped', 'paused'], becomes: 'active' },
  { event: 'shelve', from: ['active', 'stopped', 'paused'], becomes: 'shelved_offloaded' },
  { event: 'unshelve', from: ['shelved_offloaded'], becomes: 'active' },
]

/** `launched_at` is when it last began to run on a host. */
const LAUNCHES = ['rebuild', 'resize_finish', 'unshelve']

interface Event {
  readonly atMs: number
  /** By the clock of the host that tells of it. */
  readonly toldMs: number
  readonly name: string
  readonly is: Stretch
  readonly launchedMs: number | undefined
  readonly endedMs?: number | undefined
  /** Of `instance.exists`. */
  readonly dayMs?: number
}

/** One life, as it goes on. */
class Living {
  readonly events: Event[] = []
  readonly stretches: Stretch[] = []
  endMs: number | undefined
  readonly #random: () => number
  readonly #clocks: Clocks
  readonly #launches: number[] = []
  #nowMs: number

  constructor(random: () => number, clocks: Clocks) {
    this.#random = random
    this.#clocks = clocks
    this.#nowMs = BEGIN_MS - 3 * DAY_MS + Math.floor(random() * 31 * DAY_MS)
    const [host, flavor, model] = [oneOf(random, HOSTS), oneOf(random, FLAVORS), oneOf(random, MODELS)]
    const toldMs = this.shownAt(this.#nowMs, host)
    this.stretches.push({ fromMs: this.#nowMs, toldMs, host, flavor, model, state: 'active' })
    this.tell('instance.create.start', -2)
    this.tell('slot.claimed', -1)
    this.#launches.push(this.#nowMs)
    this.tell('instance.create.end')
  }

  get is(): Stretch {
    return this.stretches.at(-1) as Stretch
  }

  shownAt(ms: number, host = this.is.host): number {
    return ms + (this.#clocks[host ?? 'none'] ?? 0)
  }

  get endToldMs(): number | undefined {
    return this.endMs === undefined ? undefined : this.shownAt(this.endMs)
  }

  /** From one act in the same second to the next day. @returns whether there is time left */
  waits(): boolean {
    this.#nowMs += Math.ceil(this.#random() < 0.2 ? this.#random() * 900 : this.#random() * 1.6 * DAY_MS)
    return this.#nowMs < LAST_MS
  }

  tell(name: string, laterMs = 0): void {
    const atMs = this.#nowMs + laterMs
    const launchedMs = this.launchedBy(atMs)
    this.events.push({ atMs, toldMs: this.shownAt(atMs), name, is: this.is, launchedMs, endedMs: this.endToldMs })
  }

  become(event: string, change: Partial<Stretch>): void {
    const is = { ...this.is, ...change }
    this.stretches.push({ ...is, fromMs: this.#nowMs, toldMs: this.shownAt(this.#nowMs, is.host) })
    if (LAUNCHES.includes(event)) this.#launches.push(this.#nowMs)
    this.tell(`instance.${event}.end`)
  }

  end(): void {
    this.endMs = this.#nowMs
    this.tell('instance.delete.end')
    this.tell('slot.released', 1)
  }

  /** As it is when it is told, some time after the day. */
  audit(dayMs: number, delayMs: number): void {
    const [firstMs = 0] = this.#launches
    if (firstMs >= dayMs + DAY_MS || (this.endMs ?? LAST_MS) <= dayMs) return
    const atMs = dayMs + DAY_MS + delayMs
    const is = this.stretches.findLast(({ fromMs }) => fromMs <= atMs) as Stretch
    const endedMs = this.endMs !== undefined && this.endMs <= atMs ? this.endToldMs : undefined
    const toldMs = this.shownAt(atMs, is.host)
    this.events.push({ atMs, toldMs, name: 'instance.exists', is, launchedMs: this.launchedBy(atMs), endedMs, dayMs })
  }

  /** By the clock of the host that launched it. */
  launchedBy(atMs: number): number | undefined {
    const launchMs = this.#launches.findLast((ms) => ms <= atMs)
    return this.stretches.findLast(({ fromMs }) => fromMs === launchMs)?.toldMs
  }
}

/** @param auditDelaysMs how long after the end of each day `instance.exists` is told */
export function lifeOf(n: number, random: () => number, auditDelaysMs: readonly number[], clocks: Clocks): Life {
  const living = new Living(random, clocks)
  while (living.waits()) {
    if (random() < 0.12) {
      living.end()
      break
    }
    act(living, random)
  }
  for (const [day, delayMs] of auditDelaysMs.entries()) living.audit(BEGIN_MS + day * DAY_MS, delayMs)
  const uuid = `178b0921-8f85-4257-88b6-${n.toString(16).padStart(12, '0')}`
  const project = `p${n % 5}`
  const events = living.events.sort((a, b) => a.atMs - b.atMs)
  // Ids say nothing of the order.
  const id = (at: number) => `${Math.floor(random() * 2 ** 32)}-${n}-${at}`
  const notifications = events.map((event, at) => ({
    atMs: event.atMs,
    notification: asTold(event, { message_id: id(at), uuid, project, sequence: at + 1 }),
  }))
  const { stretches, endMs, endToldMs } = living
  return { uuid, project, stretches, endMs, endToldMs, told: notifications }
}

function act(living: Living, random: () => number): void {
  const before = living.is
  const acts = ACTS.filter(({ from }) => from.includes(before.state))
  const { event, becomes } = oneOf(random, acts)
  living.tell(`instance.${event}.start`, -1)
  if (event === 'resize') resize(living, before, random)
  else if (event === 'shelve') {
    living.tell('instance.shelve.end')
    living.become('shelve_offload', { state: becomes, host: null })
  } else if (event === 'unshelve') {
    // Encrypted as it was, or better.
    const model = before.model && oneOf(random, [before.model, 'amd-sev-es'])
    living.become(event, { state: becomes, host: oneOf(random, HOSTS), model })
  } else if (event === 'rebuild') {
    const model = before.model && oneOf(random, MODELS.slice(1))
    living.become(event, { state: becomes, host: oneOf(random, HOSTS), model })
  } else living.become(event, { state: becomes })
  living.tell('instance.update', 1)
}

function resize(living: Living, before: Stretch, random: () => number): void {
  const [host, flavor] = [oneOf(random, HOSTS), oneOf(random, FLAVORS)]
  living.become('resize_finish', { state: 'resized', host, flavor })
  if (!living.waits()) return
  if (random() < 0.7) living.become('resize_confirm', { state: before.state })
  else living.become('resize_revert', { state: before.state, host: before.host, flavor: before.flavor })
}

type Whose = { readonly message_id: string; readonly uuid: string; readonly project: string; readonly sequence: number }

function asTold({ toldMs, name, is, launchedMs, endedMs, dayMs }: Event, whose: Whose): AnyNotification {
  const { host, flavor, model, state } = is
  return told(name, {
    ...whose,
    ...{ host, flavor, model, state: endedMs === undefined ? state : 'deleted' },
    at: new Date(toldMs).toISOString(),
    launched_at: launchedMs === undefined ? null : inSeconds(launchedMs),
    terminated_at: endedMs === undefined ? null : inSeconds(endedMs),
    ...(dayMs !== undefined && { period: [inSeconds(dayMs), inSeconds(dayMs + DAY_MS)] as const }),
  })
}

function inSeconds(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}
