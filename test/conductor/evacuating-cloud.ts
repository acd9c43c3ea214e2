import { reviveOverdue } from '../../src/conductor/watchdog.ts'
import { InstanceInvalidState, MessagingTimeout, NoValidHost, SevbusError } from '../../src/errors.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { Migration, RequestSpec, Selection } from '../../src/objects/request-spec.ts'
import { setHost } from '../../src/scheduler/operating/host-settings.ts'
import { confirmMove, finishMove, revertMove } from '../../src/scheduler/placement/moves.ts'
import { DatabasePlacement } from '../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../src/scheduler/placement/schema.ts'
import type { DatabaseEngine } from '../support/databases.ts'
import { aHostReport } from '../support/host-reports.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import { aConductor } from './conductor-harness.ts'
import { DyingHost, type Told } from './dying-hosts.ts'

export const HOSTS = ['h1', 'h2', 'h3'] as const
export const STEPS = ['deliver', 'twice', 'evacuate', 'die', 'return', 'fence', 'fail', 'wait', 'delete'] as const
/** What operators ask of hosts that are up. */
export const DECISIONS = ['resize', 'migrate', 'live-migrate', 'confirm', 'revert'] as const
export const RENEWALS = ['rebuild', 'shelve', 'unshelve'] as const

/** What they ask of a live migration that is under way. */
export const ORDERS = ['give up', 'force'] as const

export interface Step {
  readonly do: (typeof STEPS | typeof DECISIONS | typeof RENEWALS | typeof ORDERS)[number]
  readonly which: number
  readonly host: (typeof HOSTS)[number]
}

const SLOTS = 2
const NO_REPORT = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }
const BUILD_TIMEOUT_MS = 60_000
const LATER = '2026-01-02T00:00:00.000Z'
const DISKS = { folder: '/shared', files: [{ name: 'disk', bytes: 1 }] }
const QEMU_DIED = { code: 'SPAWN_FAILED', message: 'QEMU died', details: {}, created_at: LATER }

const BUILDS = ['build_and_run_instance', 'finish_resize', 'rebuild_instance']

/** Something on its way: it arrives in any order, and perhaps twice. */
interface Letter {
  readonly to: string
  readonly what: unknown
  readonly args: Record<string, unknown>
}

/** What letters carry, each its part; as parsed by their contracts. */
interface Args {
  readonly instance: Instance
  readonly void: boolean
  readonly migration_uuid: string | undefined
  readonly keeps_disks_aside: boolean | undefined
  readonly uuid: string
  readonly host: string
  readonly runs: boolean
  readonly number: number
  readonly dest: string
  readonly isDone: boolean
  readonly guest: 'running' | 'shutoff'
  readonly instance_uuid: string
  readonly attempt: number
  readonly migration: Migration
}

type Conductor = Awaited<ReturnType<typeof aConductor>>

/** Nova tells a resize that fails at its destination as it does one that has not left: by one error. */
const EITHER_END: readonly string[] = ['instance.resize', 'instance.resize_finish']
/** Of a live migration that has ended by the time, or has not begun: nothing comes of them. */
const ORDERED = ['live_migration_abort', 'live_migration_force_complete']

/** The conductor and placement on their real tables, with hosts that die and a bus that is in no order. */
export class EvacuatingCloud implements AsyncDisposable {
  readonly #conductor: Conductor
  readonly #placement: DatabasePlacement
  readonly #hosts = new Map(HOSTS.map((name) => [name as string, new DyingHost(name)]))
  readonly #letters: Letter[] = []
  readonly #uuids: string[] = []
  readonly #clock: { now: Date }
  readonly #open = new Map<string, number>()
  imagesRemoved = 0

  private constructor(conductor: Conductor, clock: { now: Date }) {
    this.#conductor = conductor
    this.#placement = new DatabasePlacement(conductor.ports.database)
    this.#clock = clock
  }

  static async open(engine: DatabaseEngine): Promise<EvacuatingCloud> {
    const clock = { now: new Date('2026-01-01T00:00:00Z') }
    const ports = { now: () => clock.now, buildTimeoutMs: BUILD_TIMEOUT_MS, allowResizeToSameHost: true }
    const conductor = await aConductor(engine, (spec) => cloud.#select(spec), ports, placementMigrations)
    const cloud = new EvacuatingCloud(conductor, clock)
    for (const name of HOSTS) {
      await cloud.#placement.recordHost(aHostReport(name, { slots: { 'amd-sev': SLOTS } }))
      conductor.states.set(name, 'up')
      conductor.prepares.set(name, async () => {
        if (cloud.#host(name).isUp) return 'simulated'
        throw new MessagingTimeout('no answer')
      })
      const answers = (what: (host: DyingHost, instance: Instance) => void) => async (instance: Instance) => {
        const host = cloud.#host(name)
        if (!host.isUp) throw new MessagingTimeout('no answer')
        what(host, instance)
      }
      const runs = (host: DyingHost, { uuid }: Instance) => {
        if (!host.guests.has(uuid)) throw new InstanceInvalidState('its guest is off')
      }
      conductor.lives.set(`source ${name}`, answers(runs))
      conductor.lives.set(
        `destination ${name}`,
        answers(() => {}),
      )
      conductor.lives.set(
        `pre ${name}`,
        answers((host, instance) => host.expect(instance)),
      )
    }
    return cloud
  }

  get uuids(): readonly string[] {
    return this.#uuids
  }

  async boot(flavor: object = sevFlavor): Promise<void> {
    const { uuid } = await this.#conductor.accept(flavor)
    this.#uuids.push(uuid)
    await this.#collect()
    await this.#deliverAll()
    // Its host died before it knew that this had arrived, and says it again.
    const { host, attempt } = await this.#conductor.instance(uuid)
    this.#tell(this.#host(host as string), [{ what: 'report_build', uuid, attempt, runs: true }])
  }

  async run(step: Step): Promise<void> {
    const host = this.#host(step.host)
    const uuid = this.#uuids[step.which % this.#uuids.length] as string
    await this.#steps[step.do](uuid, host, step.which)
    // What is decided goes on for a while, and then something comes between.
    const isDecision = [...DECISIONS, ...RENEWALS].some((each) => each === step.do)
    for (let n = 0; isDecision && n < step.which % 16; n++) await this.#deliverOne(step.which + n)
    await this.#collect()
  }

  /** All hosts are back, all letters arrive, and what is overdue is revived, until nothing is left to do. */
  async settle(): Promise<void> {
    for (const host of this.#hosts.values()) {
      host.failsNext = false
      if (!host.isUp) await this.#comeBack(host)
    }
    for (let rounds = 0; rounds < 20; rounds++) {
      await this.#deliverAll()
      await this.#pass()
      if (this.#letters.length === 0 && !(await this.#decideAll())) return
    }
    throw new Error(`it does not come to rest: ${JSON.stringify(this.#letters)}`)
  }

  /** Guests that were the instance once, on a host that may have power, of which nothing is claimed there. */
  async unclaimed(): Promise<readonly string[]> {
    const { database } = this.#conductor.ports
    const rows = await database.query<{ claim: string }>(
      `select coalesce(c.instance, c.uuid)::text || ' on ' || p.host as claim from allocations a
         join consumers c on c.uuid = a.consumer join resource_providers p on p.name = a.provider`,
    )
    const claims = new Set(rows.map(({ claim }) => claim))
    const lived = await database.query<{ uuid: string; attempt: number }>(
      `select instance_uuid as uuid, attempt from build_attempts where outcome in ('active', 'evacuated', 'moved', 'reverted', 'rebuilt', 'shelved')`,
    )
    const powered = [...this.#hosts.values()].filter(({ isFenced }) => !isFenced)
    return lived
      .flatMap(({ uuid, attempt }) =>
        powered.filter(({ guests }) => guests.get(uuid) === attempt).map(({ name }) => `${uuid} on ${name}`),
      )
      .filter((guest) => !claims.has(guest))
  }

  /** Guests that were the instance once, or have come as it ran, and run on two hosts that are up: they would write to one disk, or in its name. */
  async doubled(): Promise<readonly string[]> {
    const running = [...this.#hosts.values()].filter(({ isUp }) => isUp).flatMap(({ guests }) => [...guests])
    const lived = await this.#conductor.ports.database.query<{ uuid: string; attempt: number }>(
      `select instance_uuid as uuid, attempt from build_attempts b
        where outcome in ('active', 'evacuated', 'moved', 'reverted', 'rebuilt', 'shelved')
           or exists (select from migrations m where m.type = 'live-migration' and m.instance_uuid = b.instance_uuid
                         and b.attempt >= m.first_attempt and b.attempt < all (select n.first_attempt from migrations n
                               where n.instance_uuid = m.instance_uuid and n.first_attempt > m.first_attempt))`,
    )
    const uuids = running
      .filter(([uuid, attempt]) => lived.some((each) => each.uuid === uuid && each.attempt === attempt))
      .map(([uuid]) => uuid)
    return uuids.filter((uuid, index) => uuids.indexOf(uuid) !== index)
  }

  /** What was told to begin, and not to end, or the other way round. */
  get open(): readonly string[] {
    return [...this.#open].filter(([, count]) => count !== 0).map(([key, count]) => `${count} × ${key}`)
  }

  /** Disks that were set aside and that nobody comes back for. */
  get setAside(): readonly string[] {
    return [...this.#hosts.values()].flatMap(({ name, aside }) => [...aside].map((uuid) => `${uuid} on ${name}`))
  }

  /** Where an instance is by the conductor, by the hosts, and by its claims. */
  async places(uuid: string) {
    const { vm_state, task_state, host } = await this.#conductor.instance(uuid)
    const claims = await this.#conductor.ports.database.query<{ host: string }>(
      `select p.host from allocations a join consumers c on c.uuid = a.consumer
         join resource_providers p on p.name = a.provider where $1 in (c.uuid, c.instance) order by 1`,
      [uuid],
    )
    return {
      vm_state,
      task_state,
      host: host === null ? [] : [host],
      running: [...this.#hosts.values()].filter(({ guests }) => guests.has(uuid)).map(({ name }) => name),
      claims: claims.map((row) => row.host),
    }
  }

  /** Moves of these types that have ended so. */
  async ended(status: string, ...types: readonly string[]): Promise<number> {
    const sql = 'select count(*)::int as count from migrations where status = $1 and type = any($2)'
    return (await this.#conductor.ports.database.query<{ count: number }>(sql, [status, types]))[0]?.count ?? 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#conductor[Symbol.asyncDispose]()
  }

  readonly #steps: Readonly<Record<Step['do'], (uuid: string, host: DyingHost, which: number) => Promise<unknown>>> = {
    deliver: async (_uuid, _host, which) => {
      for (let n = 0; n < 3; n++) await this.#deliverOne(which + n)
    },
    twice: async (_uuid, _host, which) => {
      const letter = this.#letters[which % Math.max(1, this.#letters.length)]
      if (letter !== undefined) await this.#deliver(letter)
    },
    evacuate: async (uuid) => {
      const { host } = await this.#conductor.instance(uuid)
      if (host !== null) this.#die(this.#host(host))
      const { endpoint, request } = this.#conductor
      await endpoint.evacuateInstance({ instance_uuid: uuid }, request).catch(expected)
    },
    resize: async (uuid) => {
      const { flavor } = await this.#conductor.instance(uuid)
      const other = { ...flavor, flavorid: flavor.flavorid === 'larger' ? 'f1' : 'larger' }
      const { endpoint, request } = this.#conductor
      await endpoint.resizeInstance({ instance_uuid: uuid, flavor: other }, request).catch(expected)
    },
    migrate: async (uuid) => {
      const { endpoint, request } = this.#conductor
      await endpoint.migrateInstance({ instance_uuid: uuid }, request).catch(expected)
    },
    rebuild: async (uuid) => {
      const { endpoint, request } = this.#conductor
      const rebuild = { instance_uuid: uuid, image: anImage(), allow_encryption_loss: false }
      await endpoint.rebuildInstance(rebuild, request).catch(expected)
    },
    shelve: async (uuid) => {
      const { endpoint, request } = this.#conductor
      await endpoint.shelveInstance({ instance_uuid: uuid, clean_shutdown: true }, request).catch(expected)
    },
    unshelve: async (uuid) => {
      await this.#conductor.endpoint.unshelveInstance({ instance_uuid: uuid }, this.#conductor.request).catch(expected)
    },
    'live-migrate': async () => {
      const { endpoint, request } = this.#conductor
      // The one in clear: others are refused.
      const uuid = this.#uuids.at(-1) as string
      await endpoint.liveMigrateInstance({ instance_uuid: uuid }, request).catch(expected)
    },
    'give up': async () => {
      const { endpoint, request } = this.#conductor
      await endpoint.liveMigrationAbort({ instance_uuid: this.#uuids.at(-1) as string }, request).catch(expected)
    },
    force: async () => {
      const { endpoint, request } = this.#conductor
      await endpoint
        .liveMigrationForceComplete({ instance_uuid: this.#uuids.at(-1) as string }, request)
        .catch(expected)
    },
    confirm: async (uuid) => {
      await this.#conductor.endpoint.confirmResize({ instance_uuid: uuid }, this.#conductor.request).catch(expected)
    },
    revert: async (uuid) => {
      await this.#conductor.endpoint.revertResize({ instance_uuid: uuid }, this.#conductor.request).catch(expected)
    },
    delete: async (uuid) => {
      await this.#conductor.endpoint.deleteInstance({ instance_uuid: uuid }, this.#conductor.request)
    },
    die: async (_uuid, host) => this.#die(host),
    return: async (_uuid, host) => this.#comeBack(host),
    fence: async (_uuid, host) => {
      this.#die(host)
      host.isFenced = true
      this.#conductor.fenced.add(host.name)
      await setHost(this.#conductor.ports.database, host.name, { fenced: true })
    },
    fail: async (_uuid, host) => {
      host.failsNext = true
    },
    wait: async () => this.#pass(),
  }

  /** Who takes what; hosts take the rest. */
  readonly #takes: Readonly<Record<string, (args: Args) => Promise<unknown>>> = {
    continue_build: (args) => this.#conductor.endpoint.continueBuild(args, this.#conductor.request),
    report_build: ({ uuid: instance_uuid, attempt, host, runs }) => {
      const outcome = runs
        ? ({ result: 'active', launched_at: LATER } as const)
        : ({ result: 'failed', fault: QEMU_DIED, retryable: true } as const)
      return this.#conductor.endpoint.reportBuild({ instance_uuid, attempt, host, outcome }, this.#conductor.request)
    },
    report_terminated: ({ uuid: instance_uuid, attempt, host, migration_uuid }) => {
      const report = { instance_uuid, attempt, host, terminated_at: LATER, ...(migration_uuid && { migration_uuid }) }
      return this.#conductor.endpoint.reportTerminated(report, this.#conductor.request)
    },
    report_action: ({ uuid: instance_uuid, attempt, host, number, isDone, guest }) => {
      const outcome = isDone
        ? ({ result: 'done', disks: DISKS } as const)
        : ({ result: 'failed', fault: QEMU_DIED, guest } as const)
      return this.#conductor.endpoint.reportAction(
        { instance_uuid, attempt, host, number, outcome },
        this.#conductor.request,
      )
    },
    release_allocations: (args) => this.#placement.release(args),
    confirm_move: (args) => confirmMove(this.#conductor.ports.database, args),
    finish_move: (args) => finishMove(this.#conductor.ports.database, args),
    revert_move: (args) => revertMove(this.#conductor.ports.database, args),
    note_build: async () => undefined,
  }

  /** As a scheduler does it that takes the first host: with the real claim. */
  async #select(spec: RequestSpec): Promise<Selection> {
    const { instance_uuid, attempt, migration, ignore_hosts, force_hosts, mem_encryption } = spec
    const isRebuild = migration?.type === 'rebuild'
    for (const { host, pools } of await this.#placement.hostStates()) {
      const slot = pools[0]?.inventories.MEM_ENCRYPTION_CONTEXT
      // A rebuild has its place already, or is asked about for the second time.
      const needsSlot = mem_encryption !== null && !isRebuild
      const isFull = needsSlot && (slot === undefined || slot.used >= slot.capacity)
      if (isFull || !this.#host(host).isUp || ignore_hosts.includes(host)) continue
      if (isRebuild && !force_hosts.includes(host)) continue
      const slotOf = { provider: `${host}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }
      // Of one in clear, too, something is claimed.
      const allocations = [mem_encryption === null ? { provider: host, resource_class: 'VCPU', amount: 1 } : slotOf]
      const selection = { host, attempt, allocations, report: NO_REPORT }
      const becomes = isRebuild ? allocations : undefined
      return (await this.#placement.grant({ instance_uuid, selection, migration, becomes })).selection
    }
    const made = await this.#placement.claimOf({ instance_uuid, attempt, migration })
    if (made !== undefined) return made
    throw new NoValidHost('no valid host')
  }

  #host(name: string): DyingHost {
    return this.#hosts.get(name) as DyingHost
  }

  #die(host: DyingHost): void {
    host.isUp = false
    this.#conductor.states.set(host.name, 'down')
  }

  /** Its worker asks what was evacuated from it before it does anything else. */
  async #comeBack(host: DyingHost): Promise<void> {
    const { ports, states, endpoint, request } = this.#conductor
    if (host.isFenced) await setHost(ports.database, host.name, { forced_down: false })
    host.isFenced = false
    this.#conductor.fenced.delete(host.name)
    host.isUp = true
    states.set(host.name, 'up')
    const { departures } = await endpoint.listDepartures({ host: host.name, limit: 100 }, request)
    for (const { instance, migration_uuid } of departures) {
      this.#tell(host, host.terminate(instance as Instance, { isVoid: true, migration_uuid }))
    }
  }

  #tell({ name: host }: DyingHost, all: readonly Told[]): void {
    for (const { what, ...args } of all) this.#letters.push({ to: 'sevbus-conductor', what, args: { ...args, host } })
  }

  async #deliverAll(): Promise<void> {
    for (let n = 0; this.#letters.length > 0; n++) {
      if (n > 1000) throw new Error(`letters without end: ${JSON.stringify(this.#letters.slice(0, 5))}`)
      await this.#deliverOne(0)
    }
  }

  async #deliverOne(which: number): Promise<void> {
    const letter = this.#letters[which % Math.max(1, this.#letters.length)]
    if (letter === undefined || !(await this.#deliver(letter))) return
    this.#letters.splice(this.#letters.indexOf(letter), 1)
  }

  /** @returns false when nobody is there to take it */
  async #deliver({ to, what, args }: Letter): Promise<boolean> {
    const host = this.#hosts.get(to.replace('sevbus-compute.', ''))
    const given = args as unknown as Args
    if (host?.isUp === false) return false
    if (host === undefined) await (this.#takes[String(what)] as (args: Args) => Promise<unknown>)(given)
    else if (BUILDS.includes(String(what))) this.#tell(host, host.build(given.instance))
    else if (what === 'resize_instance') this.#tell(host, host.leave(given.instance, given.number))
    else if (what === 'shelve_instance') this.#tell(host, host.shelve(given.instance, given.number))
    else if (what === 'remove_shelved_image') this.imagesRemoved++
    else if (ORDERED.includes(String(what))) return true
    else if (what === 'live_migration')
      this.#tell(host, host.send(given.instance, given.number, this.#host(given.dest)))
    else if (what === 'post_live_migration_at_destination') this.#tell(host, host.takeOver(given.instance))
    else if (what === 'finish_revert_resize' || what === 'rollback_live_migration')
      this.#tell(host, host.comeBack(given.instance, given.number))
    else {
      const isVoid = what === 'rollback_live_migration_at_destination' || given.void
      const { migration_uuid, keeps_disks_aside: keepsDisksAside } = given
      this.#tell(host, host.terminate(given.instance, { isVoid, migration_uuid, keepsDisksAside }))
    }
    await this.#collect()
    return true
  }

  /** @returns whether there was anything to decide about */
  async #decideAll(): Promise<boolean> {
    let decided = 0
    for (const [index, uuid] of this.#uuids.entries()) {
      if ((await this.#conductor.instance(uuid)).vm_state !== 'resized') continue
      await this.#steps[index % 2 === 0 ? 'confirm' : 'revert'](uuid, this.#host('h1'), 0)
      await this.#collect()
      decided++
    }
    return decided > 0
  }

  async #pass(): Promise<void> {
    this.#clock.now = new Date(this.#clock.now.getTime() + 100 * BUILD_TIMEOUT_MS)
    await reviveOverdue(this.#conductor.ports)
    await this.#collect()
  }

  async #collect(): Promise<void> {
    const sent = await this.#conductor.sent()
    this.#letters.push(...sent.filter(({ to }) => !to.startsWith('versioned_notifications')))
    for (const { what, args } of sent) {
      const [, event, phase] = /^(instance\.\w+)\.(start|end|error)$/.exec(String(what)) ?? []
      if (event === undefined || EITHER_END.includes(event)) continue
      const key = `${event} of ${(args as { 'nova_object.data': { uuid: string } })['nova_object.data'].uuid}`
      this.#open.set(key, (this.#open.get(key) ?? 0) + (phase === 'start' ? 1 : -1))
    }
  }
}

function expected(error: unknown): void {
  if (!(error instanceof SevbusError)) throw error
}
