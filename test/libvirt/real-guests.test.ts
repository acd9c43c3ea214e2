import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { newRequestContext, type SevbusClient } from '../../src/client.ts'
import { attribute, child, children, parseXml } from '../../src/compute/libvirt/parse-xml.ts'
import { encryptionFlaw } from '../../src/compute/libvirt/verify-encryption.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { PrivateLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'
import { canEmulate, type SevHost, sevInfo, startSevHost, whyNoSevHost } from '../servers/sev-host.ts'
import { launchOf } from '../servers/virsh.ts'
import { libvirtWorker } from '../support/libvirt-worker.ts'
import { anImage, plainFlavor, sevFlavor } from '../support/requests.ts'
import type { SevbusProcess } from '../support/sevbus-process.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const missing = await whyNoSevHost()
const context = newRequestContext({ project_id: 'p', user_id: 'u' })
const SEV = { max_asid: 2, min_sev_asid: 1 }
const SMALL = { root_gb: 1, ephemeral_gb: 0, swap: 0 }
const SETTLE = { timeout: 60_000, interval: 100 }
const nothing = { domains: [], folders: [], keys: 0, claims: 0 }
const image = { ...anImage(), disk_format: 'raw' }
/** Where the daemon looks first for programs. */
const FIRST_OF_PATH = '/usr/local/sbin'
/** Starts guests without the encryption that libvirt tells it to use. */
const IN_CLEAR = `#!/bin/sh
for arg; do
  shift
  set -- "$@" "$(printf %s "$arg" | sed 's/,confidential-guest-support=lsec0//')"
done
exec /usr/bin/qemu-system-x86_64 "$@"
`

/** Everything but the silicon: broker, database, workers, libvirt, QEMU. */
function realGuests(): void {
  let host: SevHost
  let bridge: string
  let cloud: ProcessCloud
  let client: SevbusClient
  let worker: SevbusProcess

  const settings = () => ({
    ...libvirtWorker(host),
    SEVBUS_COMPUTE_BRIDGE: bridge,
    SEVBUS_COMPUTE_GRAPHICS: 'vnc',
    SEVBUS_COMPUTE_SERIAL_CONSOLE_PORT_RANGE: '10000:10009',
  })
  const compute = () => cloud.compute('h1', settings())

  beforeAll(async () => {
    host = await startSevHost('h1', SEV)
    bridge = await host.bridge()
    await mkdir(join(host.folder, 'images'))
    await writeFile(join(host.folder, 'images', `${image.id}.raw`), Buffer.alloc(1024 * 1024))
    cloud = await ProcessCloud.open()
    const [, , started] = await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1'),
      compute(),
    ])
    worker = started
    client = await cloud.client({ hosts: 1 })
  })
  afterEach(async () => {
    await host.emulated?.sev?.heal()
    await delayed(0)
    for (const { uuid, vm_state } of await instances()) if (vm_state !== 'deleted') await remove(uuid)
    await vi.waitFor(async () => expect(await leftovers()).toEqual(nothing), SETTLE)
  })
  afterAll(async () => {
    await cloud?.[Symbol.asyncDispose]()
    await host?.stop()
  })

  /** Each command of the secure processor, where that is emulated. */
  async function delayed(delay_ms: number): Promise<void> {
    await host.emulated?.sev?.configure({ ...SEV, delay_ms })
  }

  const small = (flavor: typeof sevFlavor) => ({ ...flavor, ...SMALL, memory_mb: host.guestMemoryMb })

  async function instances(): Promise<readonly Instance[]> {
    return (await client.conductor.listInstances(context, {})).instances
  }

  async function boot(flavor: typeof sevFlavor, count = 1): Promise<readonly string[]> {
    const request = { name: 'vm', flavor: small(flavor), image, count }
    return (await client.conductor.buildInstances(context, request)).instances.map(({ uuid }) => uuid)
  }

  /** Once nobody works on them any more. */
  async function settled(uuids: readonly string[]): Promise<readonly Instance[]> {
    return await vi.waitFor(async () => {
      const found = (await instances()).filter(({ uuid }) => uuids.includes(uuid))
      expect(found.map(({ vm_state, task_state }) => `${vm_state} ${task_state}`)).not.toContainEqual(
        expect.stringMatching(/^building/),
      )
      return found
    }, SETTLE)
  }

  /** Why it is not active is with its tries: that there was no other host is all that its fault tells. */
  async function becameOf({ uuid, vm_state }: Instance) {
    const { attempts } = await client.conductor.explainInstance(context, { instance_uuid: uuid })
    return { vm_state, tries: attempts.map(({ outcome, reason }) => ({ outcome, reason })) }
  }

  async function remove(uuid: string): Promise<void> {
    await client.conductor.deleteInstance(context, { instance_uuid: uuid })
  }

  /** With a program before the machine's QEMU: libvirt takes the first of its PATH. */
  async function withQemu(libvirt: PrivateLibvirt, script: string, body: () => Promise<void>): Promise<void> {
    const folder = join(libvirt.folder, 'other-qemu')
    await mkdir(folder)
    await writeFile(join(folder, 'qemu-system-x86_64'), script, { mode: 0o755 })
    await libvirt.run('mount', '--bind', folder, FIRST_OF_PATH)
    try {
      await restart(libvirt)
      await body()
    } finally {
      await libvirt.run('umount', FIRST_OF_PATH)
      await restart(libvirt)
    }
  }

  /** Until the scheduler knows that it answers again: a host that was being looked at meanwhile has told that it does not. */
  async function restart(libvirt: PrivateLibvirt): Promise<void> {
    await libvirt.restart()
    const since = new Date().toISOString()
    await vi.waitFor(() => offersSev(since), SETTLE)
  }

  async function offersSev(since: string): Promise<void> {
    const { hosts } = await client.scheduler.listHosts(context, {})
    const offers = hosts.map(({ state, disabled, hypervisor_silence, missing_models, last_seen_up }) => ({
      ...{ state, disabled, hypervisor_silence, wasSeen: last_seen_up > since },
      lacks: missing_models['amd-sev'],
    }))
    expect(offers).toEqual([
      { state: 'up', disabled: false, hypervisor_silence: null, wasSeen: true, lacks: undefined },
    ])
  }

  const folders = async () => (await readdir(join(host.folder, 'instances'))).filter((name) => !name.startsWith('_'))
  const domains = async () => (await host.virsh('list', '--all', '--uuid')).split('\n').filter((line) => line !== '')

  /** What the host and the database still have. */
  async function leftovers() {
    const { keys } = await client.compute.listGuests(context, {}, { server: 'h1' })
    return {
      domains: await domains(),
      folders: await folders(),
      keys: keys?.sev.current,
      claims: await cloud.count('allocations'),
    }
  }

  it('boots encrypted guests, proves them, and one in clear beside them', async () => {
    const [first = '', second = ''] = await boot(sevFlavor, 2)
    const active = await settled([first, second])
    const [clear] = await settled(await boot(plainFlavor))

    const asAsked = { vm_state: 'active', tries: [{ outcome: 'active', reason: null }] }
    expect(await Promise.all(active.map(becameOf))).toEqual([asAsked, asAsked])
    for (const { uuid, mem_encryption } of active) {
      if (mem_encryption === null) throw new Error(`${uuid} runs in clear`)
      expect(
        encryptionFlaw(await host.virsh('dumpxml', uuid), await launchOf(host.virsh, uuid), mem_encryption),
      ).toBeUndefined()
    }
    expect(clear).toMatchObject({ vm_state: 'active', mem_encryption: null })
    expect((await domains()).toSorted()).toEqual([first, second, clear?.uuid].toSorted())
    expect((await leftovers()).keys).toBe(2)
  })

  it.each([
    [
      'its disks were made',
      async (uuid: string) => {
        const faults = (await instances()).filter((one) => one.uuid === uuid).map(({ fault }) => fault)
        expect({ folders: await folders(), faults }).toEqual({ folders: [uuid], faults: [null] })
      },
    ],
    ['QEMU started', async (uuid: string) => expect(await domains()).toEqual([uuid])],
    ['the guest ran', async (uuid: string) => expect(await host.virsh('domstate', uuid)).toContain('running')],
  ])('finishes or undoes what it was at when it was killed as %s', async (_when, happened) => {
    await delayed(200)
    const [uuid = ''] = await boot(sevFlavor)
    await vi.waitFor(() => happened(uuid), { timeout: 60_000, interval: 5 })

    worker.kill('SIGKILL')
    await worker.exited()
    worker = await compute()

    expect((await settled([uuid])).map(({ vm_state }) => vm_state)).toEqual(['active'])
    expect(await host.virsh('domstate', uuid)).toContain('running')
    expect(await leftovers()).toMatchObject({ domains: [uuid], folders: [uuid], keys: 1 })
  })

  it('removes a guest whose deletion came while QEMU started', async () => {
    await delayed(2000)
    const [uuid = ''] = await boot(sevFlavor)
    await vi.waitFor(async () => expect(await domains()).toEqual([uuid]), SETTLE)

    await remove(uuid)

    await vi.waitFor(async () => expect(await instances()).toEqual([]), SETTLE)
    expect(await domains()).toEqual([])
  })

  it('gives an encrypted guest all that it may have, each virtio device behind the iommu, and shows what it says', async () => {
    const { instances: built } = await client.conductor.buildInstances(context, {
      name: 'vm',
      flavor: { ...small(sevFlavor), ephemeral_gb: 1, swap: 64 },
      image: { ...image, properties: { ...image.properties, hw_qemu_guest_agent: 'yes', hw_video_model: 'virtio' } },
      ip_addresses: [{ address: '10.0.0.5', version: 4, mac: 'fa:16:3e:00:00:05' }],
      config_drive: true,
      user_data: Buffer.from('#cloud-config\n').toString('base64'),
    })
    const uuid = built[0]?.uuid ?? ''

    expect(await settled([uuid])).toMatchObject([{ vm_state: 'active', fault: null }])
    const devices = child(parseXml(await host.virsh('dumpxml', uuid), 'domain', 'the domain'), 'devices')
    const iommu = (name: string) => children(devices, name).map((device) => attribute(child(device, 'driver'), 'iommu'))
    expect(children(devices, 'disk').map((disk) => attribute(child(disk, 'target'), 'bus'))).toEqual([
      'scsi',
      'scsi',
      'scsi',
      'sata',
    ])
    expect(iommu('interface')).toEqual(['on'])
    expect(iommu('memballoon')).toEqual(['on'])
    expect(iommu('rng')).toEqual(['on'])
    expect(iommu('video')).toEqual(['on'])
    const ofVirtio = children(devices, 'controller').filter((each) =>
      /scsi|virtio-serial/.test(attribute(each, 'type') ?? ''),
    )
    expect(ofVirtio.map((each) => attribute(child(each, 'driver'), 'iommu'))).toEqual(['on', 'on'])
    const said = async () => (await client.conductor.getConsoleOutput(context, { instance_uuid: uuid })).output
    await vi.waitFor(async () => expect(await said()).toMatch(host.firmwareSays), SETTLE)
    const { console } = await client.conductor.getVncConsole(context, { instance_uuid: uuid })
    expect(console).toEqual({ host: '127.0.0.1', port: expect.any(Number), tls_port: null, internal_access_path: null })
    const { console: serial } = await client.conductor.getSerialConsole(context, { instance_uuid: uuid })
    expect(serial).toEqual({ ...console, port: expect.any(Number) })
    await host.run('bash', '-c', `exec 3<>/dev/tcp/127.0.0.1/${serial.port}`)
    await expect(client.conductor.getSpiceConsole(context, { instance_uuid: uuid })).rejects.toMatchObject({
      code: 'CONSOLE_TYPE_UNAVAILABLE',
    })
  })

  it('has instances follow guests that are ended, started or forgotten by hand', async () => {
    const [dies = '', vanishes = ''] = await boot(sevFlavor, 2)
    const [lives = ''] = await boot(plainFlavor)
    await settled([dies, vanishes, lives])
    const become = (states: object) =>
      vi.waitFor(async () => {
        const found = (await instances()).filter(({ task_state }) => task_state === null)
        expect(Object.fromEntries(found.map(({ uuid, vm_state }) => [uuid, vm_state]))).toMatchObject(states)
      }, SETTLE)

    await host.virsh('destroy', dies)
    await host.virsh('destroy', vanishes)
    await host.virsh('undefine', '--nvram', vanishes)
    await become({ [dies]: 'stopped', [vanishes]: 'error', [lives]: 'active' })
    await host.virsh('start', dies)
    await vi.waitFor(async () => expect(await host.virsh('domstate', dies)).toMatch(/^shut off/), SETTLE)
    await become({ [dies]: 'stopped' })
    // None of them does when its daemon is restarted.
    await host.emulated?.restart()
    await client.conductor.startInstance(context, { instance_uuid: dies })
    await client.conductor.rebootInstance(context, { instance_uuid: vanishes, reboot_type: 'HARD' })

    await become({ [dies]: 'active', [vanishes]: 'active', [lives]: 'active' })
    expect((await leftovers()).keys).toBe(2)
    const { actions = [] } = await client.conductor.explainInstance(context, { instance_uuid: lives })
    expect(actions).toEqual([])
  })

  it('takes down an encrypted one that somebody has started in clear, by a document that was edited', async () => {
    const [uuid = ''] = await boot(sevFlavor)
    await settled([uuid])
    const file = join(host.folder, 'edited.xml')
    const ordered = await host.virsh('dumpxml', '--inactive', uuid)
    await writeFile(file, ordered.replace(/<launchSecurity[\s\S]*<\/launchSecurity>/, ''))

    await host.virsh('define', file)
    await host.virsh('destroy', uuid)
    // Which may hear of its end before it has begun.
    await host.virsh('start', uuid).catch(() => {})

    await vi.waitFor(() => expect(worker.output).toContain(`guest ${uuid} was started by somebody else`), SETTLE)
    await vi.waitFor(async () => {
      const [found] = (await instances()).filter((one) => one.uuid === uuid)
      expect(`${found?.vm_state} ${found?.task_state}`).toBe('stopped null')
    }, SETTLE)
    await client.conductor.startInstance(context, { instance_uuid: uuid })
    await vi.waitFor(async () => expect(await host.virsh('domstate', uuid)).toMatch(/^running/), SETTLE)
    expect(await host.virsh('dumpxml', uuid)).toContain('<launchSecurity')
  })

  it('is rebuilt with encryption, put away with nothing of it on the host but its image, and runs from that again', async () => {
    const [uuid = ''] = await boot(plainFlavor)
    await settled([uuid])
    const asked = { instance_uuid: uuid }
    const withSev = { ...image, properties: { ...image.properties, hw_mem_encryption: true, os_shutdown_timeout: 1 } }
    const rests = (state: string) =>
      vi.waitFor(async () => {
        const { instance } = await client.conductor.getInstance(context, asked)
        expect(`${instance.vm_state} ${instance.task_state} ${instance.fault?.message}`).toBe(`${state} null undefined`)
      }, SETTLE)
    const images = async () => (await readdir(join(host.folder, 'images'))).filter((name) => name.endsWith('.qcow2'))

    await client.conductor.rebuildInstance(context, { ...asked, image: withSev })
    await rests('active')
    expect(await leftovers()).toMatchObject({ domains: [uuid], keys: 1 })

    await client.conductor.shelveInstance(context, asked)
    await rests('shelved_offloaded')
    await vi.waitFor(async () => expect(await leftovers()).toEqual(nothing), SETTLE)
    expect(await images()).toHaveLength(1)

    await client.conductor.unshelveInstance(context, asked)
    await rests('active')
    expect(await leftovers()).toMatchObject({ domains: [uuid], folders: [uuid], keys: 1 })
    await vi.waitFor(async () => expect(await images()).toEqual([]), SETTLE)
  })

  it('is described for lint and xml as it is reported', async () => {
    const described = cloud.start(['host-capabilities', '--host', 'h1'], settings())
    expect(await described.exited()).toBe(0)
    const { capabilities, resources } = JSON.parse(described.output)
    const { hosts } = await client.scheduler.listHosts(context, {})

    const { cbitpos, maxGuests } = host.emulated ? { cbitpos: 47, maxGuests: 2 } : await sevInfo(host.virsh)
    expect(capabilities).toMatchObject({ arch: 'x86_64', cbitpos, slots: { 'amd-sev': maxGuests } })
    expect(capabilities.missing).toEqual(hosts[0]?.missing_models)
    expect(hosts[0]?.providers[0]?.inventories.VCPU?.total).toBe(resources.vcpus)
  })

  it('leaves domains alone that are not ours', async () => {
    const uuid = '11111111-2222-4333-8444-555555555555'
    const file = join(host.folder, 'foreign.xml')
    await writeFile(
      file,
      `<domain type='${host.virtType}'><name>foreign</name><uuid>${uuid}</uuid><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os></domain>`,
    )
    await host.virsh('define', file)

    worker.kill('SIGTERM')
    await worker.exited()
    worker = await compute()
    await settled(await boot(plainFlavor))

    expect(await domains()).toContain(uuid)
    await host.virsh('undefine', uuid)
  })

  const NO_FAULTS = 'keys cannot be chosen on real hardware, nor commands made to fail, nor its daemon be ended'
  if (canEmulate('real guests with faults of the secure processor, of QEMU and of libvirtd', NO_FAULTS)) {
    const libvirt = () => {
      if (host.emulated === undefined) throw new Error('the hardware is real')
      return host.emulated
    }

    it('says of the guest after the last key why not', async () => {
      const found = await settled(await boot(sevFlavor, 3))

      const states = found.map(({ vm_state, fault }) => `${vm_state} ${fault?.code}`)
      expect(states.toSorted()).toEqual(['active undefined', 'active undefined', 'error NO_VALID_HOST'])
    })

    it.each([
      ['INIT', 'ENCRYPTION_SLOTS_EXHAUSTED', { errno: 'EBUSY' }],
      ['LAUNCH_START', 'RESOURCE_LIMIT (23)', { errno: 'EIO', fwError: 23 }],
      ['LAUNCH_UPDATE_DATA', 'DFFLUSH_REQUIRED (15)', { errno: 'EIO', fwError: 15 }],
      ['LAUNCH_FINISH', 'INVALID_GUEST_STATE (2)', { errno: 'EIO', fwError: 2 }],
    ] as const)('tells what was refused, %s: %s, and leaves nothing of the guest', async (command, told, fault) => {
      await libvirt().sev?.fail(command, fault)

      const [uuid = ''] = await boot(sevFlavor)
      const [failed] = await settled([uuid])
      const explained = await client.conductor.explainInstance(context, { instance_uuid: uuid })

      expect(failed?.vm_state).toBe('error')
      expect(JSON.stringify(explained)).toContain(told)
      expect(await leftovers()).toEqual(nothing)
    })

    it('destroys a guest that its QEMU does not encrypt, though libvirt believes so', async () => {
      await withQemu(libvirt(), IN_CLEAR, async () => {
        const [uuid = ''] = await boot(sevFlavor)
        const [failed] = await settled([uuid])
        const explained = await client.conductor.explainInstance(context, { instance_uuid: uuid })

        expect(failed?.vm_state).toBe('error')
        expect(JSON.stringify(explained)).toContain('ENCRYPTION_NOT_EFFECTIVE')
        expect(await leftovers()).toEqual(nothing)
      })
    })

    it('goes on when libvirtd was killed in the middle of a start', async () => {
      await delayed(500)
      const uuids = await boot(sevFlavor)
      await vi.waitFor(async () => expect(await domains()).toEqual(uuids), SETTLE)

      await libvirt().kill()
      await libvirt().restart()

      const [ended] = await settled(uuids)
      // There is one host, and it has had its chance.
      expect(['active', 'error']).toContain(ended?.vm_state)
      expect((await domains()).length).toBe(ended?.vm_state === 'active' ? 1 : 0)
    })
  }
}

if (missing) notRun({ name: 'real guests on a host with SEV, real or emulated', ...missing })
describe.runIf(missing === undefined)(
  'real guests, by RabbitMQ, PostgreSQL, libvirt and QEMU, on a host with SEV',
  realGuests,
)
