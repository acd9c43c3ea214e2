import { cpSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import type { z } from 'zod'
import { ComputeApi } from '../../src/compute/rpc-api.ts'
import { ConductorApi } from '../../src/conductor/rpc-api.ts'
import { reviveOverdue } from '../../src/conductor/watchdog.ts'
import { ImageNotFound, SevbusError } from '../../src/errors.ts'
import { correctionOf, type SeenGuestState } from '../../src/objects/guest-deviation.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { RequestSpec } from '../../src/objects/request-spec.ts'
import { aWorker, type ComputeWorker, HOST } from '../compute/support/compute-worker.ts'
import { aFolder } from '../compute/support/folders.ts'
import { aConductor, aSelection } from '../conductor/conductor-harness.ts'
import type { DatabaseEngine } from '../support/databases.ts'
import { anImage, plainFlavor, sevFlavor } from '../support/requests.ts'

/** What may be asked for, by the conductor's methods. */
export const REQUESTS = {
  start: ['startInstance', {}],
  stop: ['stopInstance', { clean_shutdown: true }],
  'stop hard': ['stopInstance', { clean_shutdown: false }],
  reboot: ['rebootInstance', { reboot_type: 'SOFT' }],
  'reboot hard': ['rebootInstance', { reboot_type: 'HARD' }],
  pause: ['pauseInstance', {}],
  unpause: ['unpauseInstance', {}],
  suspend: ['suspendInstance', {}],
  resume: ['resumeInstance', {}],
  rebuild: ['rebuildInstance', { image: anImage(), allow_encryption_loss: false }],
  shelve: ['shelveInstance', { clean_shutdown: true }],
  unshelve: ['unshelveInstance', {}],
  delete: ['deleteInstance', {}],
} as const

/** What else may happen. */
export const INCIDENTS = [
  ...(['deliver', 'deliver twice', 'let it work', 'kill the worker', 'look', 'wait long'] as const),
  ...(['guest dies', 'guest is started', 'guest is paused', 'guest vanishes'] as const),
  ...(['hypervisor is silent', 'hypervisor answers', 'hypervisor drops encryption', 'hypervisor encrypts'] as const),
  ...(['images are away', 'images are there'] as const),
] as const

export interface Step {
  readonly do: keyof typeof REQUESTS | (typeof INCIDENTS)[number]
  readonly which: number
}

interface Letter {
  readonly to: 'conductor' | 'host'
  readonly wire: string
  readonly args: Record<string, unknown>
}

const never = new AbortController().signal
const BUILD_TIMEOUT_MS = 60_000

type Methods = Readonly<Record<string, { readonly wire: string; readonly input: z.ZodType }>>

function methodOf(methods: Methods, wire: string) {
  const found = Object.entries(methods).find(([, method]) => method.wire === wire)
  if (found === undefined) throw new Error(`nobody takes ${wire}`)
  return found
}

type Conductor = Awaited<ReturnType<typeof aConductor>>
type Endpoint = Readonly<Record<string, (args: unknown, request: unknown) => Promise<unknown>>>

/**
 * A conductor on its real tables and a real worker on a simulated host, with a bus between them that is in no order, tells
 * twice and tells late. The worker can be killed: what goes on is a new one with what the disk had at that moment.
 */
export class ActingCloud implements AsyncDisposable {
  readonly #conductor: Conductor
  readonly #clock: { now: Date }
  readonly #killed: ComputeWorker[] = []
  readonly #letters: Letter[] = []
  /** What waits at the host for other work to end, and is acknowledged after that: nobody else waits for it. */
  readonly #waiting = new Map<Letter, Promise<unknown>>()
  #worker!: ComputeWorker
  #hasImages = true
  readonly uuids: string[] = []
  /** What was told to those who bill, in its order. */
  readonly events: string[] = []
  /** Claims that were given back: up to which try of each. */
  readonly released = new Map<string, number>()

  private constructor(conductor: Conductor, clock: { now: Date }) {
    this.#conductor = conductor
    this.#clock = clock
  }

  static async open(engine: DatabaseEngine): Promise<ActingCloud> {
    const clock = { now: new Date('2026-01-01T00:00:00Z') }
    const ports = { now: () => clock.now, buildTimeoutMs: BUILD_TIMEOUT_MS }
    const select = async ({ attempt, flavor }: RequestSpec) => {
      const selection = aSelection(HOST, attempt)
      return 'hw:mem_encryption' in flavor.extra_specs ? selection : { ...selection, allocations: [] }
    }
    const conductor = await aConductor(engine, select, ports)
    const cloud = new ActingCloud(conductor, clock)
    cloud.#worker = await cloud.#start(await aFolder())
    for (const flavor of [sevFlavor, plainFlavor]) await cloud.#boot(flavor)
    return cloud
  }

  #start(folder: string): Promise<ComputeWorker> {
    const { endpoint, request } = this.#conductor
    const ask = (name: 'checkBuild' | 'checkAction') => (_: unknown, args: never) => endpoint[name](args, request)
    const conductor = { checkBuild: ask('checkBuild'), checkAction: ask('checkAction') }
    const beforeStep = (step: string) => {
      if (step === 'holdImage' && !this.#hasImages) throw new ImageNotFound('the store has no image')
    }
    return aWorker({ folder, conductor, now: () => this.#clock.now, beforeStep })
  }

  async #boot(flavor: typeof sevFlavor): Promise<void> {
    const { endpoint, request } = this.#conductor
    const args = { name: 'web', flavor, image: anImage(), count: 1, ip_addresses: [] }
    const uuid = (await endpoint.buildInstances(args, request)).instances[0]?.uuid as string
    await endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, request)
    this.uuids.push(uuid)
    await this.#deliverAll()
  }

  instance(uuid: string): Promise<Instance> {
    return this.#conductor.instance(uuid)
  }

  async actions(uuid: string) {
    const { actions = [] } = await this.#conductor.endpoint.explainInstance(
      { instance_uuid: uuid },
      this.#conductor.request,
    )
    return actions
  }

  /** `in clear` when it runs, or stands still, without its launchSecurity. */
  async guest(uuid: string): Promise<{ readonly state: SeenGuestState; readonly inClear: boolean }> {
    const { host } = this.#worker
    const found = await host.guest(uuid, never)
    if (found === undefined) return { state: 'missing', inClear: false }
    const live = await host.domainXml(uuid, never)
    const isOn = found.state === 'running' || found.state === 'paused'
    return { state: found.state, inClear: isOn && !live.includes('<launchSecurity') }
  }

  /** What the worker was told to do is done. */
  idle(): Promise<void> {
    return this.#worker.manager.idle()
  }

  /** What is on its way, by the methods that it is for. */
  get letters(): readonly string[] {
    return this.#letters.map(({ wire }) => wire)
  }

  async leftovers() {
    return (await this.#worker.leftovers()).disks
  }

  async run(step: Step): Promise<void> {
    const uuid = this.uuids[step.which % this.uuids.length] as string
    if (step.do in REQUESTS) {
      const [method, more] = REQUESTS[step.do as keyof typeof REQUESTS]
      const { endpoint, request } = this.#conductor
      const ask = (endpoint as unknown as Endpoint)[method]
      await ask?.({ instance_uuid: uuid, ...more }, request).catch(expected)
    } else await this.#happens[step.do as (typeof INCIDENTS)[number]](uuid, step.which)
    await this.#collect()
  }

  readonly #happens: Readonly<Record<(typeof INCIDENTS)[number], (uuid: string, which: number) => unknown>> = {
    deliver: (_uuid, which) => this.#deliver(which, true),
    'deliver twice': (_uuid, which) => this.#deliver(which, false),
    'let it work': async (_uuid, which) => {
      for (let turns = which % 30; turns > 0; turns--) await turn()
    },
    'kill the worker': () => this.#kill(),
    look: (uuid) => this.#look([uuid]),
    'wait long': () => this.#pass(),
    'guest dies': (uuid) => this.#worker.host.powerOff(uuid),
    'guest is started': (uuid) => this.#worker.host.startDefined(uuid, never).catch(expected),
    'guest is paused': (uuid) => this.#worker.host.pause(uuid).catch(expected),
    'guest vanishes': (uuid) => this.#worker.host.destroy(uuid),
    'hypervisor is silent': () => this.#worker.host.reconfigure({ hangs: true }),
    'hypervisor answers': () => this.#worker.host.reconfigure({ hangs: false }),
    'hypervisor drops encryption': () => this.#worker.host.reconfigure({ starts_in_clear: true }),
    'images are away': () => {
      this.#hasImages = false
    },
    'images are there': () => {
      this.#hasImages = true
    },
    'hypervisor encrypts': () => this.#worker.host.reconfigure({ starts_in_clear: false }),
  }

  /** Everything works, and is waited for, until nothing changes any more. */
  async settle(): Promise<void> {
    for (let rounds = 0; rounds < 30; rounds++) {
      this.#worker.host.reconfigure({ hangs: false, starts_in_clear: false })
      await this.#deliverAll()
      await this.#pass()
      await this.#deliverAll()
      if ((await this.#look(this.uuids)) === 0 && this.#letters.length === 0) return
    }
    throw new Error(`it does not come to rest: ${JSON.stringify(this.#letters).slice(0, 2000)}`)
  }

  /** As the disk has it now. The old one may go on with what it has in memory: nobody hears of it. */
  async #kill(): Promise<void> {
    const before = this.#worker
    const folder = await aFolder()
    // The journal first: what it says was done then the host has done, as on a machine whose power is cut.
    for (const part of ['journal/journal.jsonl', 'host/guests.json']) {
      cpSync(`${before.folder}/${part}`, `${folder}/${part}`)
    }
    this.#killed.push(before)
    // What it has not acknowledged goes to the next one.
    this.#letters.push(...this.#waiting.keys())
    this.#waiting.clear()
    this.#worker = await this.#start(folder)
    this.#worker.manager.recover()
  }

  /** As GuestWatch does it, but that its report may be long on its way. @returns how many guests are to be corrected */
  async #look(uuids: readonly string[]): Promise<number> {
    const { endpoint, request } = this.#conductor
    const { instances } = await endpoint.listInstanceStates({ uuids: [...uuids], limit: 10 }, request)
    const guests = []
    for (const { uuid, attempt, vm_state, task_state, host, last_action = 0 } of instances) {
      if (task_state !== null || host !== HOST || this.#worker.manager.isBusy(uuid)) continue
      await this.#prove(uuid)
      const state = await this.#stateOf(uuid)
      const correction = state && correctionOf(vm_state as Instance['vm_state'], state)
      if (correction === undefined || correction === 'told') continue
      guests.push({ instance_uuid: uuid, attempt, last_action, state })
    }
    if (guests.length > 0) {
      this.#letters.push({ to: 'conductor', wire: 'report_guest_states', args: { host: HOST, guests } })
    }
    return guests.length
  }

  async #prove(uuid: string): Promise<void> {
    const { mem_encryption } = await this.instance(uuid)
    const soon = AbortSignal.timeout(1)
    const guest = { uuid, model: mem_encryption?.model ?? null }
    await this.#worker.manager.proveGuest(guest, soon).catch(() => {})
  }

  /** Undefined: the hypervisor does not answer. */
  async #stateOf(uuid: string): Promise<SeenGuestState | undefined> {
    const soon = AbortSignal.timeout(1)
    return this.#worker.host.guest(uuid, soon).then(
      (guest) => guest?.state ?? 'missing',
      () => undefined,
    )
  }

  async #pass(): Promise<void> {
    this.#clock.now = new Date(this.#clock.now.getTime() + 2 * BUILD_TIMEOUT_MS)
    await reviveOverdue(this.#conductor.ports)
    await this.#collect()
  }

  async #deliverAll(): Promise<void> {
    for (let n = 0; n < 500; n++) {
      await this.#collect()
      if (this.#letters.length > 0) await this.#deliver(0, true)
      else {
        await this.#worker.manager.idle()
        await Promise.all(this.#waiting.values())
        await this.#collect()
        if (this.#letters.length === 0) return
      }
    }
    throw new Error(`letters without end: ${JSON.stringify(this.#letters).slice(0, 2000)}`)
  }

  async #deliver(which: number, isLast: boolean): Promise<void> {
    const at = which % Math.max(1, this.#letters.length)
    const letter = this.#letters[at]
    if (letter === undefined) return
    if (isLast) this.#letters.splice(at, 1)
    const { endpoint, request } = this.#conductor
    const isToHost = letter.to === 'host'
    const [name, { input }] = methodOf(isToHost ? ComputeApi.methods : ConductorApi.methods, letter.wire)
    const target = (isToHost ? this.#worker.manager : endpoint) as unknown as Endpoint
    const done = target[name]?.(input.parse(letter.args), request)
    if (letter.wire !== 'remove_shelved_image') await done
    else
      this.#waiting.set(
        letter,
        Promise.resolve(done).finally(() => this.#waiting.delete(letter)),
      )
  }

  async #collect(): Promise<void> {
    for (const { to, what, args } of await this.#conductor.sent()) {
      if (to.startsWith('versioned_notifications')) {
        const { uuid } = (args as { 'nova_object.data': { uuid: string } })['nova_object.data']
        this.events.push(`${what} ${uuid}`)
      } else if (what === 'release_allocations') this.released.set(String(args.instance_uuid), Number(args.attempt))
      else if (to === 'sevbus-conductor') this.#letters.push({ to: 'conductor', wire: String(what), args })
      else if (to.startsWith('sevbus-compute')) this.#letters.push({ to: 'host', wire: String(what), args })
    }
    for (const told of (await this.#worker.sent()) as { method: string }[]) {
      const { method: wire, ...args } = told
      this.#letters.push({ to: 'conductor', wire, args })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const worker of [...this.#killed, this.#worker]) {
      worker.host.reconfigure({ hangs: false })
      await worker.close()
    }
    await this.#conductor[Symbol.asyncDispose]()
  }
}

function expected(error: unknown): void {
  if (!(error instanceof SevbusError)) throw error
}
