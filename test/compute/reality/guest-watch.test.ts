import { pino } from 'pino'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { diskContents } from '../../../src/compute/disks/disk-contents.ts'
import { type FakeVirtDriver, openFakeHost } from '../../../src/compute/fake/fake-virt-driver.ts'
import type { KnownTry } from '../../../src/compute/journal/state.ts'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS } from '../../../src/compute/libvirt/domain-options.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import { ProvenGuests } from '../../../src/compute/proven-guests.ts'
import { GuestWatch, type GuestWatchOptions } from '../../../src/compute/reality/guest-watch.ts'
import type { GuestChange } from '../../../src/compute/virt-driver.ts'
import { LibvirtError, MessagingTimeout } from '../../../src/errors.ts'
import { InstanceState } from '../../../src/objects/instance.ts'
import { aFolder } from '../support/folders.ts'
import { anInstance } from '../support/instances.ts'

const HOST = 'node1'
const never = new AbortController().signal
type Report = { instance_uuid: string; state: string; resume?: boolean; attempt: number; last_action: number }

/** A simulated host with guests that are ours, a watch over them, and a conductor that believes what the test says. */
class Watched {
  readonly beliefs = new Map<string, InstanceState>()
  readonly known = new Map<string, KnownTry>()
  readonly ended = new Set<string>()
  readonly busy = new Set<string>()
  readonly proven = new ProvenGuests()
  readonly toProve: string[] = []
  isProven = true
  readonly reports: Report[] = []
  readonly warnings: string[] = []
  questions = 0
  /** By name; not as one of all. */
  readonly askedFor = new Set<string>()
  isServing = true
  failsNext = 0
  readonly host: FakeVirtDriver
  watch: GuestWatch | undefined

  constructor(host: FakeVirtDriver) {
    this.host = host
  }

  static async open(): Promise<Watched> {
    const watched = new Watched(await openFakeHost({ folder: await aFolder(), sev_slots: 3 }))
    open.push(watched)
    return watched
  }

  /** A guest that runs, of an instance that is active here. */
  async guest(changes: Partial<InstanceState> = {}): Promise<string> {
    const instance = anInstance({})
    const domain = buildDomain(guestSpec(instance, DEFAULT_DOMAIN_OPTIONS), await this.host.capabilities(never))
    await this.host.createDisks(domain, diskContents(instance, domain), never)
    await this.host.spawn(domain, never)
    const { uuid, name, attempt } = instance
    const state = { uuid, name, attempt, vm_state: 'active', task_state: null, host: HOST, last_action: 0 }
    const rest = { model: null, updated_at: '2026-01-01T00:00:00.000Z', messages_waiting: false, hosts_waiting: [] }
    this.beliefs.set(uuid, InstanceState.parse({ ...state, ...rest, ...changes }))
    this.known.set(uuid, { attempt, outcome: 'active' })
    return uuid
  }

  begin(changes: Partial<GuestWatchOptions> = {}): void {
    const conductor = {
      listInstanceStates: async (_: unknown, query: { uuids?: string[]; marker?: string }) => {
        this.questions++
        for (const uuid of query.uuids ?? []) this.askedFor.add(uuid)
        if (this.failsNext-- > 0) throw new MessagingTimeout('nobody answers')
        const all = [...this.beliefs.values()].filter(({ uuid, host }) => query.uuids?.includes(uuid) ?? host === HOST)
        return { instances: query.marker === undefined ? all : [] }
      },
      reportGuestStates: async (_: unknown, { host, guests }: { host: string; guests: Report[] }) => {
        expect(host).toBe(HOST)
        this.reports.push(...guests)
        return null
      },
    }
    const logger = pino({ level: 'warn' }, { write: (line) => void this.warnings.push(JSON.parse(line).msg) })
    this.watch = new GuestWatch({
      host: HOST,
      driver: this.host,
      journal: {
        known: (uuid: string) => this.known.get(uuid),
        endedAction: (uuid: string) => (this.ended.has(uuid) ? {} : undefined),
      } as unknown as GuestWatchOptions['journal'],
      client: { of: () => conductor } as unknown as GuestWatchOptions['client'],
      logger,
      isBusy: (uuid) => this.busy.has(uuid),
      proven: this.proven,
      prove: async ({ uuid }) => {
        this.toProve.push(uuid)
        return this.isProven
      },
      isServing: () => this.isServing,
      intervalMs: 0,
      settleMs: 2,
      ...changes,
    })
    this.watch.start()
  }

  /** Waits until all guests have been looked at once more than now. */
  async lookedAt(): Promise<void> {
    const { questions } = this
    await vi.waitFor(() => expect(this.questions).toBeGreaterThan(questions))
  }

  reported(uuid: string, state: string, more: object = {}): Promise<void> {
    return vi.waitFor(() =>
      expect(this.reports).toContainEqual({ instance_uuid: uuid, attempt: 1, last_action: 0, state, ...more }),
    )
  }

  async close(): Promise<void> {
    await this.watch?.close()
    await this.host.close()
  }
}

const open: Watched[] = []

afterEach(async () => {
  for (const watched of open.splice(0)) await watched.close()
})

describe('guests', () => {
  it('that die, or vanish, while nobody does anything to them are told with what they are now', async () => {
    const watched = await Watched.open()
    const [dies, vanishes, lives] = [await watched.guest(), await watched.guest(), await watched.guest()]
    watched.begin()
    await watched.lookedAt()

    await watched.host.powerOff(dies)
    await watched.host.destroy(vanishes)

    await watched.reported(dies, 'shutoff')
    await watched.reported(vanishes, 'missing')
    expect(watched.reports.map(({ instance_uuid }) => instance_uuid)).not.toContain(lives)
  })

  it('that ended before the worker began are seen at its first look, and those that run against their will', async () => {
    const watched = await Watched.open()
    const off = await watched.guest({ last_action: 0 })
    await watched.host.powerOff(off)
    const runs = await watched.guest({ vm_state: 'stopped' })

    watched.begin()

    await watched.reported(off, 'shutoff')
    await watched.reported(runs, 'running')
  })

  it('that something is done to are left to it, here or at the conductor, and looked at afterwards', async () => {
    const watched = await Watched.open()
    const [here, there] = [await watched.guest(), await watched.guest({ task_state: 'powering-off' })]
    watched.busy.add(here)
    watched.begin()
    await watched.host.powerOff(here)
    await watched.host.powerOff(there)
    await watched.lookedAt()
    await watched.lookedAt()
    const during = [...watched.reports]

    watched.busy.clear()
    watched.beliefs.set(there, { ...(watched.beliefs.get(there) as InstanceState), task_state: null, last_action: 7 })

    await watched.reported(here, 'shutoff')
    await watched.reported(there, 'shutoff', { last_action: 7 })
    expect(during).toEqual([])
  })

  it('that are off for a moment only, or live elsewhere, or under another try, are nothing', async () => {
    const watched = await Watched.open()
    const away = await watched.guest({ host: 'node2' })
    const later = await watched.guest({ attempt: 2 })
    const dies = await watched.guest()
    watched.ended.add(away)
    watched.begin()
    for (const uuid of [away, later, dies]) await watched.host.powerOff(uuid)

    await watched.reported(dies, 'shutoff')
    await watched.lookedAt()

    expect(new Set(watched.reports.map(({ instance_uuid }) => instance_uuid))).toEqual(new Set([dies]))
  })

  it('that were paused by somebody, and those of nobody, are told in the log once and left alone', async () => {
    const watched = await Watched.open()
    const paused = await watched.guest()
    const stranger = await watched.guest()
    watched.beliefs.delete(stranger)
    watched.known.delete(stranger)
    await watched.host.pause(paused)

    watched.begin({ intervalMs: 5 })
    for (let looks = 0; looks < 4; looks++) await watched.lookedAt()

    expect(watched.warnings).toEqual([
      `instance ${paused} is active, but its guest is paused: it is left alone`,
      `a guest ${stranger} is here that no instance of this host has: it is left alone`,
    ])
    expect(watched.reports).toEqual([])
    expect(await watched.host.guests(never)).toContainEqual({ uuid: paused, state: 'paused' })
  })

  it('that just run as they were built cost the conductor no question', async () => {
    const watched = await Watched.open()
    watched.begin()
    await watched.lookedAt()

    const lives = await watched.guest()
    watched.proven.note(lives, (await watched.host.domainId(lives, never)) as number)
    const dies = await watched.guest()
    await watched.host.powerOff(dies)
    await watched.reported(dies, 'shutoff')

    expect([watched.askedFor.has(dies), watched.askedFor.has(lives)]).toEqual([true, false])
  })

  it('that somebody else has started are to prove their encryption, and until they have', async () => {
    const watched = await Watched.open()
    const uuid = await watched.guest()
    watched.proven.note(uuid, (await watched.host.domainId(uuid, never)) as number)
    watched.begin()
    await watched.lookedAt()
    watched.toProve.length = 0
    watched.isProven = false

    await watched.host.powerOff(uuid)
    await watched.host.startDefined(uuid, never)

    await vi.waitFor(() => expect(watched.toProve.length).toBeGreaterThan(2))
    watched.isProven = true
    expect(new Set(watched.toProve)).toEqual(new Set([uuid]))
    expect(watched.reports).toEqual([])
  })

  it('of a worker that has lost what it knew of them prove their encryption when it starts, and whenever somebody has started one', async () => {
    const watched = await Watched.open()
    const [first, second] = [await watched.guest(), await watched.guest()]
    watched.known.clear()
    watched.begin()
    await vi.waitFor(() => expect(new Set(watched.toProve)).toEqual(new Set([first, second])))
    watched.toProve.length = 0

    await watched.host.powerOff(first)
    await watched.host.startDefined(first, never)

    await vi.waitFor(() => expect(watched.toProve).toContain(first))
    await watched.host.powerOff(second)
    await watched.reported(second, 'shutoff')
  })

  it('that do not answer keep nobody from asking the others for their encryption, and are told in the log once', async () => {
    const watched = await Watched.open()
    const [deaf, clear, dies] = [await watched.guest(), await watched.guest(), await watched.guest()]
    await watched.host.powerOff(dies)
    const asked: string[] = []
    const prove = async ({ uuid }: { readonly uuid: string }) => {
      asked.push(uuid)
      if (uuid === deaf) throw new LibvirtError('cannot acquire state change lock', { libvirt_code: 68 })
      return true
    }

    watched.begin({ prove })

    await watched.reported(dies, 'shutoff')
    await vi.waitFor(() => expect(asked.filter((uuid) => uuid === deaf).length).toBeGreaterThan(2))
    expect(asked).toContain(clear)
    expect(watched.warnings.filter((words) => words.includes(deaf))).toEqual([
      `guest ${deaf} is not proven to run encrypted, and goes on: cannot acquire state change lock`,
    ])
  })

  it('are told when the conductor is back, and by the worker of this host alone', async () => {
    const watched = await Watched.open()
    const uuid = await watched.guest()
    await watched.host.powerOff(uuid)
    watched.failsNext = 2
    watched.isServing = false
    watched.begin()
    await new Promise((resolve) => setTimeout(resolve, 10))
    const whileNotServing = watched.questions

    watched.isServing = true

    await watched.reported(uuid, 'shutoff')
    expect(whileNotServing).toBe(0)
    expect(watched.warnings[0]).toBe('guests cannot be held against their instances now: nobody answers')
  })

  it('that ran when the host went down are to be started, once all of them were told', async () => {
    const watched = await Watched.open()
    const [one, two] = [await watched.guest(), await watched.guest()]
    for (const uuid of [one, two]) await watched.host.powerOff(uuid)
    const done = vi.fn(async () => {})
    watched.begin({ resume: { done } })

    await watched.reported(one, 'shutoff', { resume: true })
    await watched.reported(two, 'shutoff', { resume: true })
    await vi.waitFor(() => expect(done).toHaveBeenCalledOnce())
    const dies = await watched.guest()
    await watched.host.powerOff(dies)

    await watched.reported(dies, 'shutoff')
  })

  it('are seen again after events were lost', async () => {
    const watched = await Watched.open()
    const uuid = await watched.guest()
    const changes: GuestChange[] = []
    let wake = () => {}
    const driver = Object.create(watched.host, {
      changes: {
        value: async function* (signal: AbortSignal) {
          signal.addEventListener('abort', () => wake())
          while (!signal.aborted) {
            yield* changes.splice(0)
            await new Promise<void>((resolve) => {
              wake = resolve
            })
          }
        },
      },
      guest: { value: watched.host.guest.bind(watched.host) },
      guests: { value: watched.host.guests.bind(watched.host) },
    })
    watched.begin({ driver })
    await watched.host.powerOff(uuid)

    changes.push({ resync: 'the connection is new' })
    wake()

    await watched.reported(uuid, 'shutoff')
  })
})
