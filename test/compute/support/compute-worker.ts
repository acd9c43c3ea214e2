import { join } from 'node:path'
import { pino } from 'pino'
import type { GuestPatience } from '../../../src/compute/actions/guest-patience.ts'
import type { FakeHostOptions } from '../../../src/compute/fake/fake-host-options.ts'
import { type FakeVirtDriver, openFakeHost } from '../../../src/compute/fake/fake-virt-driver.ts'
import { Journal } from '../../../src/compute/journal/journal.ts'
import { DEFAULT_DOMAIN_OPTIONS, type DomainOptions } from '../../../src/compute/libvirt/domain-options.ts'
import { ComputeManager } from '../../../src/compute/manager.ts'
import type { TellException } from '../../../src/compute/told-exceptions.ts'
import type { VirtDriver } from '../../../src/compute/virt-driver.ts'
import { ConductorApi } from '../../../src/conductor/rpc-api.ts'
import type { Instance } from '../../../src/objects/instance.ts'
import { RpcClient } from '../../../src/rpc/client.ts'
import type { RequestInfo } from '../../../src/rpc/contract.ts'
import { MemoryBus } from '../../../src/rpc/drivers/memory.ts'
import { aFolder } from './folders.ts'

export const HOST = 'node1'
const silent = pino({ level: 'silent' })
const never = new AbortController().signal
export const request: RequestInfo = {
  context: { request_id: 'req-1', user_id: 'u-1', project_id: 'p-1' },
  signal: never,
}

export interface WorkerOptions {
  /** Where journal and guests are: give it again to restart. */
  readonly folder?: string
  readonly fake?: FakeHostOptions
  readonly maxConcurrentBuilds?: number
  readonly shutdown?: GuestPatience
  readonly unplug?: GuestPatience
  readonly domainOptions?: Partial<DomainOptions>
  /** What the conductor answers to check_build and check_action; it may throw. */
  readonly isWanted?: () => Promise<boolean>
  /** What the conductor answers to list_departures, by its marker; it may throw. */
  readonly departed?: (marker?: string) => Promise<readonly { migration_uuid: string; instance: Instance }[]>
  /** Who answers instead of the conductor that only says what is above. */
  readonly conductor?: object
  readonly now?: () => Date
  /** Who hears of work that broke off. */
  readonly tellException?: TellException
  /** Before each call of the driver and each append to the journal; it may throw. */
  readonly beforeStep?: (step: string) => void | Promise<void>
}

/** A compute worker on a simulated host, with a conductor that only answers. */
export interface ComputeWorker {
  readonly folder: string
  readonly manager: ComputeManager
  readonly host: FakeVirtDriver
  readonly journal: Journal
  /** Sends what is queued, and tells it: by method and arguments. */
  sent(): Promise<readonly unknown[]>
  /** What the host has. */
  leftovers(): Promise<{ guests: readonly unknown[]; disks: readonly string[] }>
  close(): Promise<void>
}

export async function withWorker(
  options: WorkerOptions,
  work: (worker: ComputeWorker) => Promise<void>,
): Promise<void> {
  const worker = await aWorker(options)
  try {
    await work(worker)
  } finally {
    await worker.close()
  }
}

export async function aWorker(options: WorkerOptions = {}): Promise<ComputeWorker> {
  const { folder = await aFolder(), beforeStep = () => {}, isWanted = async () => true, maxConcurrentBuilds } = options
  const { departed = async () => [] } = options
  const host = await openFakeHost({ folder: join(folder, 'host'), sev_slots: 15, ...options.fake })
  const journal = await Journal.open({ folder: join(folder, 'journal'), host: HOST })
  const rpc = new RpcClient({ transport: new MemoryBus().connect(), logger: silent })
  const manager = new ComputeManager({
    host: HOST,
    driver: interceptedDriver(host, beforeStep),
    journal: interceptedJournal(journal, beforeStep),
    outbox: { announce() {} },
    client: {
      message: rpc.message.bind(rpc),
      of: ((api: unknown) => {
        if (api !== ConductorApi) throw new Error('the worker calls nobody but the conductor')
        return (
          options.conductor ?? {
            checkBuild: async () => ({ wanted: await isWanted() }),
            checkAction: async () => ({ wanted: await isWanted() }),
            listDepartures: async (_context: unknown, { host, marker }: { host: string; marker?: string }) => {
              if (host !== HOST) throw new Error('a worker asks for its own host')
              return { departures: await departed(marker) }
            },
          }
        )
      }) as unknown as RpcClient['of'],
    },
    logger: silent,
    retryDelaysMs: [1],
    shutdown: options.shutdown ?? { timeoutMs: 60_000, askAgainMs: 1000, lookMs: 1 },
    now: options.now ?? (() => new Date('2026-01-01T00:02:00.000Z')),
    unplug: options.unplug ?? { timeoutMs: 60_000, askAgainMs: 1000, lookMs: 1 },
    domainOptions: { ...DEFAULT_DOMAIN_OPTIONS, ...options.domainOptions },
    ...(maxConcurrentBuilds !== undefined && { maxConcurrentBuilds }),
    ...(options.tellException && { tellException: options.tellException }),
  })
  return {
    folder,
    manager,
    host,
    journal,
    sent: () => sendAll(journal),
    leftovers: async () => ({ guests: await host.guests(never), disks: host.disks() }),
    async close() {
      await manager.drain(0)
      await journal.close()
      await host.close()
      await rpc.close()
    },
  }
}

async function sendAll(journal: Journal): Promise<readonly unknown[]> {
  const sent: unknown[] = []
  for (;;) {
    const batch = await journal.take(1000)
    if (batch.length === 0) return sent
    sent.push(...batch.map(({ body }) => readable(JSON.parse(body))))
    await journal.sent(batch.map(({ id }) => id))
  }
}

function readable(body: { 'oslo.message': string }): unknown {
  const { method, args } = JSON.parse(body['oslo.message'])
  return { method, ...args }
}

function interceptedDriver(driver: VirtDriver, beforeStep: (step: string) => void | Promise<void>): VirtDriver {
  return intercepted(
    driver,
    [
      ...['capabilities', 'holdImage', 'createDisks', 'spawn', 'domainXml', 'launch'],
      ...['destroy', 'removeDisks'],
      ...['guest', 'shutdown', 'powerOff', 'pause', 'unpause', 'suspend', 'hasSavedMemory', 'resume'],
      ...['attach', 'detach', 'copyRoot', 'storeCopy', 'removeCopy', 'removeRescueDisk'],
      ...['storage', 'setDisksAside', 'bringDisksBack', 'takeDisks', 'define'],
      ...['diskFolders', 'disksOf', 'expectGuest', 'liveMigrate', 'welcomeGuest'],
      ...['abortLiveMigration', 'completeLiveMigration'],
    ],
    beforeStep,
  )
}

function interceptedJournal(journal: Journal, beforeStep: (step: string) => void | Promise<void>): Journal {
  return intercepted(journal, ['append'], beforeStep)
}

function intercepted<T extends object>(
  target: T,
  steps: readonly string[],
  beforeStep: (step: string) => void | Promise<void>,
): T {
  return new Proxy(target, {
    get(_, name) {
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      const call = member.bind(target)
      if (!steps.includes(String(name))) return call
      return (...args: unknown[]) => {
        try {
          // Without a detour where there is none: what the journal knows at once must stay known at once.
          const ready = beforeStep(String(name))
          return ready instanceof Promise ? ready.then(() => call(...args)) : call(...args)
        } catch (error) {
          return Promise.reject(error)
        }
      }
    },
  })
}
