import { randomUUID } from 'node:crypto'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { newRequestContext, type SevbusClient } from '../../src/client.ts'
import { readEncryptionKeys } from '../../src/compute/libvirt/encryption-keys.ts'
import { encryptionFlaw } from '../../src/compute/libvirt/verify-encryption.ts'
import { notRun } from '../servers/not-run.ts'
import { offersSevEs, type SevHost, startSevHost, whyNoSevHost } from '../servers/sev-host.ts'
import { launchOf } from '../servers/virsh.ts'
import { libvirtWorker } from '../support/libvirt-worker.ts'
import { aFlavor, anImage } from '../support/requests.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const missing = await whyNoSevHost()
if (missing) notRun({ name: 'a host with SEV, real or emulated', ...missing })
const hasSevEs = missing === undefined && (await offersSevEs())
if (missing === undefined && !hasSevEs) {
  notRun({ name: 'SEV-ES guests', why: 'this host offers none', how: 'keep ASIDs for SEV-ES in the BIOS' })
}

const MODELS = [
  { model: 'amd-sev', policy: 0x33, key: 'sev' },
  ...(hasSevEs ? ([{ model: 'amd-sev-es', policy: 0x37, key: 'sev_es' }] as const) : []),
] as const
const image = { ...anImage(), disk_format: 'raw' } as const
const SETTLE = { timeout: 60_000, interval: 100 }

/** The same on real hardware (`SEVBUS_TEST_LIBVIRT`) as on the emulated host. */
describe.runIf(missing === undefined)('a host with SEV', () => {
  let host: SevHost
  let cloud: ProcessCloud
  let client: SevbusClient
  const context = newRequestContext({ project_id: 'p', user_id: 'u' })
  const guests: string[] = []

  beforeAll(async () => {
    host = await startSevHost('sev', {})
    for (const name of ['images', 'instances']) await mkdir(join(host.folder, name), { mode: 0o711 })
    await writeFile(join(host.folder, 'images', `${image.id}.raw`), Buffer.alloc(1024 * 1024))
    cloud = await ProcessCloud.open()
    await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1'),
      cloud.compute('h1', {
        ...libvirtWorker(host),
        SEVBUS_COMPUTE_NETWORK: 'none',
      }),
    ])
    client = await cloud.client({ hosts: 1 })
  })

  afterAll(async () => {
    for (const uuid of guests) {
      await host.virsh('destroy', uuid).catch(() => undefined) // it never ran
      await host.virsh('undefine', '--nvram', uuid)
    }
    await cloud?.[Symbol.asyncDispose]()
    await host?.stop()
  })

  const keysInUse = async (key: 'sev' | 'sev_es') => (await readEncryptionKeys(host.root))?.[key].current ?? Number.NaN

  it.each(MODELS)('runs a guest of libvirt’s with $model, measures it and counts its key', async ({ policy, key }) => {
    const before = await keysInUse(key)
    const uuid = await defineGuest(policy)

    await host.virsh('start', uuid)

    expect((await host.virsh('domstate', uuid)).trim()).toBe('running')
    const info = await host.virsh('domlaunchsecinfo', uuid)
    expect(info).toMatch(new RegExp(`^sev-policy +: ${policy}$`, 'm'))
    // 32 bytes of the measurement, 16 of its nonce.
    expect(info).toMatch(/^sev-measurement *: [\w+/]{64}$/m)
    await vi.waitFor(async () => expect(await keysInUse(key)).toBe(before + 1))
  })

  it.each(MODELS)('boots an instance with $model by the bus, proves it, and has nothing of it left', async (asked) => {
    const before = await keysInUse(asked.key)
    const flavor = aFlavor(
      { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': asked.model },
      { memory_mb: 256, root_gb: 1 },
    )
    const [uuid = ''] = (
      await client.conductor.buildInstances(context, { name: 'vm', flavor, image, count: 1 })
    ).instances.map((instance) => instance.uuid)

    const instance = await vi.waitFor(async () => {
      const [found] = (await client.conductor.listInstances(context, {})).instances.filter((one) => one.uuid === uuid)
      expect(found?.vm_state).not.toBe('building')
      return found
    }, SETTLE)
    expect(instance).toMatchObject({ vm_state: 'active', fault: null, mem_encryption: { model: asked.model } })
    const encryption = instance?.mem_encryption
    if (encryption == null) throw new Error('it runs in clear')
    expect(
      encryptionFlaw(await host.virsh('dumpxml', uuid), await launchOf(host.virsh, uuid), encryption),
    ).toBeUndefined()

    await client.conductor.deleteInstance(context, { instance_uuid: uuid })

    await vi.waitFor(async () => expect(await host.virsh('list', '--all', '--uuid')).not.toContain(uuid), SETTLE)
    await vi.waitFor(async () => expect(await readdir(join(host.folder, 'instances'))).not.toContain(uuid), SETTLE)
    await vi.waitFor(async () => expect(await keysInUse(asked.key)).toBe(before), SETTLE)
  })

  async function defineGuest(policy: number): Promise<string> {
    const uuid = randomUUID()
    const file = join(host.folder, `${uuid}.xml`)
    await writeFile(
      file,
      `<domain type="kvm"><name>sevbus-test-${uuid}</name><uuid>${uuid}</uuid>
      <memory unit="MiB">256</memory><vcpu>1</vcpu><memoryBacking><locked/></memoryBacking>
      <os firmware="efi"><type arch="x86_64" machine="q35">hvm</type>
      <firmware><feature enabled="no" name="secure-boot"/></firmware></os><features><acpi/></features>
      <devices><memballoon model="none"/></devices>
      <launchSecurity type="sev"><policy>0x${policy.toString(16).padStart(4, '0')}</policy></launchSecurity></domain>`,
    )
    await host.virsh('define', '--validate', file)
    guests.push(uuid)
    return uuid
  }
})
