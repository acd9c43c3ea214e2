import { randomUUID } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { domainOptions } from '../../dist/compose/host-options.js'
import { buildDomain } from '../../dist/compute/libvirt/build-domain.js'
import { definitionOf } from '../../dist/compute/libvirt/driver/definition.js'
import { readHostFacts } from '../../dist/compute/libvirt/driver/host-facts.js'
import { guestSpec } from '../../dist/compute/libvirt/guest-spec.js'
import { decideHostCapabilities } from '../../dist/compute/libvirt/host-capabilities.js'
import { Libvirt } from '../../dist/compute/libvirt/rpc/libvirt.js'
import { loadConfig } from '../../dist/config.js'
import { newRequestContext, type SevbusClient } from '../../src/client.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { type PrivateLibvirt, startLibvirt } from '../../test/servers/libvirt-daemon.ts'
import { anImage, plainFlavor, sevFlavor } from '../../test/support/requests.ts'
import type { SevbusProcess } from '../../test/support/sevbus-process.ts'
import { waitFor } from '../../test/support/wait-for.ts'
import type { BenchCloud } from './bench-cloud.ts'
import { openPreparedDisks } from './prepared-disks.ts'
import { profilingIn, tellProfilers } from './profiling.ts'
import { BootListener, HUGE, warmUp } from './simulated-boots.ts'

const HOST = 'h1'
const SMALL = { memory_mb: 64, root_gb: 1, ephemeral_gb: 0, swap: 0 }
const IMAGE = { ...anImage(), disk_format: 'raw' }
const IMAGE_BYTES = 1024 ** 2
const WARM_UP_IN_FLIGHT = 32
const SETTLE = { timeoutMs: 300_000, intervalMs: 200 }
const context = newRequestContext({ project_id: 'p', user_id: 'u' })

interface RealHostOptions {
  readonly encrypted: boolean
  /** On a simulated host that is gone then: all workers but that of the real host have been at it for a while. */
  readonly warmUpBoots: number
  readonly profileFolder?: string | undefined
}

export type RealHost = Awaited<ReturnType<typeof openRealHost>>

/** A private libvirt, a compute worker on it, and what a bare client needs to make the same guests. */
export async function openRealHost(bench: BenchCloud, { encrypted, warmUpBoots, profileFolder }: RealHostOptions) {
  const { cloud } = bench
  const libvirt = await startLibvirt({ name: HOST, ...(encrypted && { sev: { max_asid: 509, min_sev_asid: 100 } }) })
  const folders = { instances: join(libvirt.folder, 'instances'), images: join(libvirt.folder, 'images') }
  await mkdir(folders.images)
  await writeFile(join(folders.images, `${IMAGE.id}.raw`), Buffer.alloc(IMAGE_BYTES))
  const env = workerSettings(libvirt, folders)
  const profiled = profilingIn(profileFolder)
  const [conductor, scheduler] = await Promise.all([
    cloud.worker('conductor', 'c1', profiled),
    cloud.worker('scheduler', 's1', profiled),
  ])
  if (warmUpBoots > 0) await warmUpOnSimulatedHost(bench, warmUpBoots)
  const worker = await cloud.compute(HOST, { ...env, ...profiled })
  const client = await cloud.client({ hosts: warmUpBoots > 0 ? 2 : 1 })
  const request = { name: 'vm', flavor: { ...(encrypted ? sevFlavor : plainFlavor), ...SMALL }, image: IMAGE }
  /** Resolves when it is accepted: stored, come what may. */
  const boot = async (uuid: string) => {
    await client.conductor.buildInstances(context, { ...request, instance_uuids: [uuid] })
  }
  const disks = await openPreparedDisks(folders.instances, folders.images, join(libvirt.folder, 'bases'))
  const first = randomUUID()
  await boot(first)
  await settled(client, [first])
  const { instance } = await client.conductor.getInstance(context, { instance_uuid: first })
  const domainOf = await domainsLike(instance, libvirt, env)
  const { sha256 } = definitionOf(domainOf(first))
  if (!(await libvirt.virsh('dumpxml', first)).includes(sha256)) throw new Error('the worker defines another document')

  return {
    libvirt,
    pids: { conductor: conductor.pid, scheduler: scheduler.pid, compute: worker.pid },
    boot,
    /** Where it was asked for. */
    profile: () => profileFolder !== undefined && tellProfilers([worker, conductor, scheduler]),
    /** When it is ACTIVE for the cloud, too. */
    settled: (uuids: readonly string[]) => settled(client, uuids),
    remove: (uuids: readonly string[]) => removed(client, uuids),
    prepareDisks: (uuid: string) => disks.make(domainOf(uuid), instance.image),
    removeDisks: (uuid: string) => disks.remove(uuid),
    xmlOf: (uuid: string) => definitionOf(domainOf(uuid)).xml,
    workerMemory: () => memoryOf(worker),
    async close() {
      await removed(client, [first])
      await disks.close()
      await libvirt.stop()
    },
  }
}

async function warmUpOnSimulatedHost(bench: BenchCloud, boots: number): Promise<void> {
  const simulated = await bench.cloud.compute('h0', HUGE)
  const client = await bench.cloud.client({ hosts: 1 })
  const listener = await BootListener.open(bench)
  await warmUp(bench, client, listener, { boots, inFlight: WARM_UP_IN_FLIGHT })
  await listener.close()
  simulated.kill('SIGTERM')
  await simulated.exited()
}

function workerSettings(libvirt: PrivateLibvirt, folders: { readonly instances: string; readonly images: string }) {
  return {
    SEVBUS_COMPUTE_DRIVER: 'libvirt',
    SEVBUS_LIBVIRT_URI: libvirt.uri,
    SEVBUS_LIBVIRT_HOST_ROOT: libvirt.root,
    SEVBUS_COMPUTE_INSTANCES_PATH: folders.instances,
    SEVBUS_COMPUTE_IMAGE_FOLDER: folders.images,
    SEVBUS_COMPUTE_VIRT_TYPE: libvirt.virtType,
    SEVBUS_COMPUTE_CPU_MODE: 'none',
    SEVBUS_COMPUTE_NETWORK: 'none',
    // Halting guests need nothing of what they are counted for.
    SEVBUS_COMPUTE_CPU_ALLOCATION_RATIO: '64',
    SEVBUS_COMPUTE_DISK_ALLOCATION_RATIO: '64',
    SEVBUS_COMPUTE_REPORT_INTERVAL_SECONDS: '10',
  }
}

/** The documents that the worker would define, from the same values. */
async function domainsLike(instance: Instance, { uri, root, virtType }: PrivateLibvirt, env: Record<string, string>) {
  const options = domainOptions(loadConfig({ env, host: HOST }).compute)
  const libvirt = new Libvirt({ uri, onTrouble: ({ message }) => console.error(message) })
  const { firmwareFiles } = options
  const host = { virtType, firmwareFiles, root, machineTypeOf: () => undefined }
  const capabilities = decideHostCapabilities(await readHostFacts(libvirt, host, AbortSignal.timeout(60_000)))
  await libvirt.close()
  return (uuid: string) => buildDomain(guestSpec({ ...instance, uuid }, options), capabilities)
}

async function settled({ conductor }: SevbusClient, uuids: readonly string[]): Promise<void> {
  await waitFor(async () => {
    const { instances } = await conductor.listInstanceStates(context, { uuids: [...uuids] })
    const failed = instances.find(({ vm_state }) => vm_state === 'error')
    if (failed) throw new Error(`${failed.uuid} is in error`)
    const active = instances.filter(({ vm_state }) => vm_state === 'active')
    if (active.length < uuids.length) throw new Error(`${active.length} of ${uuids.length} are active`)
  }, SETTLE)
}

async function removed({ conductor }: SevbusClient, uuids: readonly string[]): Promise<void> {
  for (const instance_uuid of uuids) await conductor.deleteInstance(context, { instance_uuid })
  await waitFor(async () => {
    const { instances } = await conductor.listInstanceStates(context, { uuids: [...uuids] })
    const left = instances.filter(({ vm_state }) => vm_state !== 'deleted')
    if (left.length > 0) throw new Error(`${left.length} of ${uuids.length} are not deleted yet`)
  }, SETTLE)
}

/** MiB. Source: proc(5), /proc/pid/status. */
async function memoryOf({ pid }: SevbusProcess) {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const mib = (field: string) => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1024
  return { now: mib('VmRSS'), peak: mib('VmHWM') }
}
