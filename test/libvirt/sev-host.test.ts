import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { readEncryptionKeys } from '../../src/compute/libvirt/encryption-keys.ts'
import { notRun } from '../servers/not-run.ts'
import { type SevHost, startSevHost, whyNoSevHost } from '../servers/sev-host.ts'

const missing = await whyNoSevHost()
if (missing) notRun({ name: 'a host with SEV, real or emulated', ...missing })

/** What libvirt and QEMU do by themselves, on real hardware (`SEVBUS_TEST_LIBVIRT`) as on the emulated host. */
describe.runIf(missing === undefined)('a host with SEV', () => {
  let host: SevHost
  const guests: string[] = []

  beforeAll(async () => {
    host = await startSevHost()
  })

  afterAll(async () => {
    for (const uuid of guests) {
      await host.virsh('destroy', uuid).catch(() => undefined) // it never ran
      await host.virsh('undefine', '--nvram', uuid)
    }
    await host?.stop()
  })

  it.each([
    { model: 'SEV', policy: 0x33, key: 'sev' },
    { model: 'SEV-ES', policy: 0x37, key: 'sev_es' },
  ] as const)('runs a guest with $model, measures it and counts its key', async ({ policy, key }) => {
    const before = await readEncryptionKeys(host.root)
    const uuid = await defineGuest(policy)

    await host.virsh('start', uuid)

    expect((await host.virsh('domstate', uuid)).trim()).toBe('running')
    const info = await host.virsh('domlaunchsecinfo', uuid)
    expect(info).toMatch(new RegExp(`^sev-policy +: ${policy}$`, 'm'))
    // 32 bytes of the measurement, 16 of its nonce.
    expect(info).toMatch(/^sev-measurement *: [\w+/]{64}$/m)
    // A kernel before 5.13, or with the old control groups only, does not tell.
    if (host.emulated) expect(before).toBeDefined()
    if (before === undefined) return
    const used = before[key].current
    await vi.waitFor(async () => expect((await readEncryptionKeys(host.root))?.[key].current).toBe(used + 1))
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
