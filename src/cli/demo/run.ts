import { setTimeout as sleep } from 'node:timers/promises'
import { SevbusError } from '../../errors.ts'
import type { HostSummary } from '../../objects/host-report.ts'
import type { Instance } from '../../objects/instance.ts'
import { SchedulingReport } from '../../objects/scheduling-report.ts'
import { newRequestContext } from '../../rpc/request-context.ts'
import { SAMPLE_FLAVORS, SAMPLE_IMAGES } from '../catalogue.ts'
import { type BillingFacts, billingFacts } from '../notification-view.ts'
import { openDemoCloud } from './cloud.ts'
import { type DemoFacts, type DemoObserver, type Refusal, totals } from './facts.ts'
import { type BootStep, DEMO_HOSTS, DEMO_STEPS, type DeleteStep } from './scenario.ts'

/** How often a watching API tier would look, in milliseconds. */
const LOOK_MS = 60
/** A demo that has not ended by then is broken, and says so. */
const GIVE_UP_MS = 120_000

const CONTEXT = { user_id: 'demo-user', project_id: 'demo-project' }

/** Plays the scenario through the typed client, as an API tier would, and tells the observer what it sees. */
export async function runDemo(observer: DemoObserver, logLevel: string): Promise<DemoFacts> {
  const startedAt = performance.now()
  const notifications: BillingFacts[] = []
  const cloud = await openDemoCloud(DEMO_HOSTS, logLevel, async (notification) => {
    // When slots are claimed and released is in what the instances tell, too; hosts are shown as they are.
    if (!/^(?:instance|compute_task)\./.test(notification.event_type)) return
    const facts = billingFacts(notification)
    notifications.push(facts)
    observer.notification(facts)
  })
  try {
    const player = new Player(cloud, observer)
    await player.look((_, hosts) => hosts.length === DEMO_HOSTS.length)
    for (const step of DEMO_STEPS) {
      observer.step(step.title)
      await (step.kind === 'boot' ? player.boot(step) : player.delete(step))
    }
    await player.look(() => notifications.length >= player.notificationsDue())
    const seen = { hosts: player.hosts, instances: player.instances, refusals: player.refusals, notifications }
    const facts = { ...seen, totals: totals(seen, performance.now() - startedAt) }
    observer.end(facts)
    return facts
  } finally {
    await cloud.close()
  }
}

type Cloud = Pick<Awaited<ReturnType<typeof openDemoCloud>>, 'conductor' | 'scheduler'>

class Player {
  readonly #cloud: Cloud
  readonly #observer: DemoObserver
  readonly #instances = new Map<string, Instance>()
  readonly refusals: Refusal[] = []
  hosts: readonly HostSummary[] = []

  constructor(cloud: Cloud, observer: DemoObserver) {
    this.#cloud = cloud
    this.#observer = observer
  }

  get instances(): readonly Instance[] {
    return [...this.#instances.values()]
  }

  async boot({ name, flavor, image, count }: BootStep): Promise<void> {
    const request = { name, flavor: SAMPLE_FLAVORS[flavor] as never, image: SAMPLE_IMAGES[image] as never, count }
    try {
      const { instances } = await this.#cloud.conductor.buildInstances(newRequestContext(CONTEXT), request)
      for (const instance of instances) this.#see(instance)
    } catch (error) {
      if (!(error instanceof SevbusError)) throw error
      const { code, message } = error
      this.#refuse({ name, instance_uuid: null, code, message, report: null })
    }
    await this.look((instances) => instances.every(({ vm_state }) => vm_state !== 'building'))
  }

  async delete({ name }: DeleteStep): Promise<void> {
    const found = this.instances.find((instance) => instance.name === name) as Instance
    const context = newRequestContext(CONTEXT)
    await this.#cloud.conductor.deleteInstance(context, { instance_uuid: found.uuid })
    // The slot is free when the scheduler says so, a moment after the instance is gone.
    await this.look((instances, hosts) => {
      const isGone = instances.some(({ uuid, vm_state }) => uuid === found.uuid && vm_state === 'deleted')
      return isGone && slotsUsed(hosts) === instances.filter(holdsSlot).length
    })
  }

  /** Looks at hosts and instances until what is awaited has come. */
  async look(isReached: (instances: readonly Instance[], hosts: readonly HostSummary[]) => boolean): Promise<void> {
    const giveUpAt = performance.now() + GIVE_UP_MS
    for (;;) {
      await this.#refresh()
      if (isReached(this.instances, this.hosts)) return
      if (performance.now() > giveUpAt) throw new Error('the demo does not come to its end')
      await sleep(LOOK_MS)
    }
  }

  /** Billing gets start and end of each create and delete, and one error for each that found no host. */
  notificationsDue(): number {
    return this.instances.reduce((sum, { vm_state }) => sum + NOTIFICATIONS_OF[vm_state], 0)
  }

  async #refresh(): Promise<void> {
    const context = newRequestContext(CONTEXT)
    const [{ hosts }, { instances }, { instances: deleted }] = await Promise.all([
      this.#cloud.scheduler.listHosts(context, {}),
      this.#cloud.conductor.listInstances(context, {}),
      this.#cloud.conductor.listInstances(context, { vm_state: 'deleted' }),
    ])
    this.hosts = hosts
    this.#observer.hosts(hosts)
    for (const instance of [...instances, ...deleted]) this.#see(instance)
  }

  #see(instance: Instance): void {
    const before = this.#instances.get(instance.uuid)
    if (before !== undefined && progress(before) === progress(instance)) return
    this.#instances.set(instance.uuid, instance)
    this.#observer.instance(instance, before)
    const { fault, uuid, name } = instance
    if (fault === null || instance.vm_state !== 'error') return
    const report = SchedulingReport.safeParse(fault.details.report).data ?? null
    this.#refuse({ name, instance_uuid: uuid, code: fault.code, message: fault.message, report })
  }

  #refuse(refusal: Refusal): void {
    this.refusals.push(refusal)
    this.#observer.refusal(refusal)
  }
}

const NOTIFICATIONS_OF = {
  building: 0,
  active: 2,
  paused: 4,
  suspended: 4,
  stopped: 4,
  rescued: 4,
  resized: 8,
  shelved: 4,
  shelved_offloaded: 4,
  error: 1,
  deleted: 4,
} as const

function progress({ vm_state, task_state, host, updated_at }: Instance): string {
  return `${vm_state} ${task_state} ${host} ${updated_at}`
}

function holdsSlot({ vm_state, mem_encryption }: Instance): boolean {
  return vm_state === 'active' && mem_encryption !== null
}

function slotsUsed(hosts: readonly HostSummary[]): number {
  const pools = hosts.flatMap(({ providers }) => providers.filter(({ model }) => model !== null))
  return pools.flatMap(({ inventories }) => Object.values(inventories)).reduce((sum, { used }) => sum + used, 0)
}
