import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { describe, expect, it, onTestFinished } from 'vitest'
import { diskContents } from '../../src/compute/disks/disk-contents.ts'
import type { FakeHostOptions } from '../../src/compute/fake/fake-host-options.ts'
import { openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { HostView } from '../../src/compute/host-view.ts'
import { buildDomain } from '../../src/compute/libvirt/build-domain.ts'
import { guestSpec } from '../../src/compute/libvirt/guest-spec.ts'
import { NO_LIMITS, type SlotLimits } from '../../src/compute/libvirt/slot-limits.ts'
import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { anInstance } from './support/instances.ts'

const signal = new AbortController().signal
const GUEST = '7d5d3a3e-0c0b-4c2f-9a51-2f6a8f0d1c11'

async function aView(options: FakeHostOptions, limits: Partial<SlotLimits> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'sevbus-view-'))
  const driver = await openFakeHost({ folder, ...options })
  onTestFinished(async () => {
    await driver.close()
    await rm(folder, { recursive: true })
  })
  const logged: { readonly level: number; readonly msg: string; readonly instances?: string[] }[] = []
  const logger = pino({}, { write: (line: string) => void logged.push(JSON.parse(line)) })
  const view = new HostView({ driver, limits: { ...NO_LIMITS, ...limits }, logger })
  const boot = async (model: MemEncryptionModel | undefined, uuid = GUEST) => {
    const instance = anInstance({ uuid, ...(model && { model }) })
    const domain = buildDomain(guestSpec(instance), await view.look(signal))
    await driver.createDisks(domain, diskContents(instance, domain), signal)
    await driver.spawn(domain, signal)
  }
  return { driver, view, boot, logged, messages: () => logged.map(({ msg }) => msg) }
}

describe('what a host offers', () => {
  it('is told in the log when it changes, with what is missing, and not again while it is the same', async () => {
    const { driver, view, messages, logged } = await aView({ sev_slots: 15 })

    await view.look(signal)
    await view.look(signal)
    driver.reconfigure({ sev_es_slots: 4 })
    await view.look(signal)

    expect(messages()).toEqual(['the host offers', 'the host has changed, and offers now'])
    expect(logged[0]).toMatchObject({
      slots: { 'amd-sev': 15 },
      missing: {
        'amd-sev-es': expect.stringContaining('sev_es=1'),
        'amd-sev-snp': expect.stringContaining('sev_snp=1'),
      },
    })
  })

  it('is within the limits that the operator sets, and a limit that makes no sense is warned of once', async () => {
    const { view, logged } = await aView({ sev_slots: 15, sev_es_slots: 5 }, { 'amd-sev': 20, 'amd-sev-es': 2 })

    const { slots } = await view.look(signal)
    await view.look(signal)

    expect(slots).toEqual({ 'amd-sev': 15, 'amd-sev-es': 2 })
    expect(logged.filter(({ level }) => level === 40).map(({ msg }) => msg)).toEqual([
      'compute.num_memory_encrypted_guests is 20, but the host has 15 SEV slots, which count: lower or remove it',
    ])
  })

  it('is no slot at all while a guest here needs a model that the host has lost, and all when it is back', async () => {
    const { driver, view, boot, logged } = await aView({ sev_slots: 15, sev_es_slots: 5 })
    await boot('amd-sev-es')
    expect((await view.look(signal)).slots).toEqual({ 'amd-sev': 15, 'amd-sev-es': 5 })

    // The next start of the kernel: SNP is on, which takes SEV-ES away.
    driver.reconfigure({ sev_snp_slots: 5 })
    const lost = await view.look(signal)
    await view.look(signal)

    expect(lost.slots).toEqual({})
    expect(lost.missing['amd-sev']).toBe(
      `instances ${GUEST} need SEV-ES (${lost.missing['amd-sev-es']}), which this host has lost: bring it back, or move or delete them`.slice(
        0,
        500,
      ),
    )
    const errors = logged.filter(({ level }) => level === 50)
    expect(errors.map(({ msg, instances }) => [msg, instances])).toEqual([
      ['the host has lost what its guests need; it offers no slots', [GUEST]],
    ])

    driver.reconfigure({ sev_snp_slots: 0 })
    expect((await view.look(signal)).slots).toEqual({ 'amd-sev': 15, 'amd-sev-es': 5 })
    expect(logged.at(-1)?.msg).toBe('the host has again what its encrypted guests need')
  })

  it('is whole again when the guests that were stranded are gone', async () => {
    const { driver, view, boot, messages } = await aView({ sev_slots: 15, sev_es_slots: 5 })
    await boot('amd-sev-es')
    driver.reconfigure({ sev_es_slots: 0 })
    expect((await view.look(signal)).slots).toEqual({})

    await driver.destroy(GUEST)

    expect((await view.look(signal)).slots).toEqual({ 'amd-sev': 15 })
    expect(messages().at(-1)).toBe('no guest here needs what the host lacks any more')
  })

  it('does not suffer from guests in clear, nor from those whose model is there', async () => {
    const { view, boot } = await aView({ sev_slots: 15 })
    await boot('amd-sev')
    await boot(undefined, '7d5d3a3e-0c0b-4c2f-9a51-2f6a8f0d1c12')

    expect((await view.look(signal)).slots).toEqual({ 'amd-sev': 15 })
  })

  it('is the number of SEV-ES guests that the operator names where libvirt counts none, and those that run are not lost without it', async () => {
    const old = { sev_slots: 15, sev_es_slots: 5, libvirt_version: '7.0' } as const
    const { driver, view, boot } = await aView(old, { 'amd-sev-es': 8 })

    expect(await view.look(signal)).toMatchObject({ slots: { 'amd-sev-es': 8 }, missing: {} })
    await boot('amd-sev-es')
    const without = new HostView({ driver, limits: NO_LIMITS, logger: pino({ level: 'silent' }) })
    expect((await without.look(signal)).slots).toEqual({ 'amd-sev': 2_147_483_647 })
  })

  it.each([
    [{ firmware_features: ['amd-sev'] }, { 'amd-sev': 15 }, /no firmware descriptor has amd-sev-es/],
    [{ disk_buses: ['virtio'] }, {}, /no SCSI disks/],
    [{ supports_uefi: false }, {}, /no UEFI firmware/],
    [{ libvirt_version: '7.0' }, { 'amd-sev': 2_147_483_647 }, /does not tell how many guests/],
    [{ has_q35: false }, {}, /no machine type q35/],
  ] as const)('of a simulated host with %j is %j', async (facts, slots, reason) => {
    const { view } = await aView({ sev_slots: 15, sev_es_slots: 5, ...facts })

    const capabilities = await view.look(signal)

    expect(capabilities.slots).toEqual(slots)
    expect(capabilities.missing['amd-sev-es']).toMatch(reason)
  })

  it('of a simulated host with a libvirt before 10.5 is no SEV-SNP, which that libvirt does not name, and SEV-ES is off by it', async () => {
    const { driver, view } = await aView({ sev_slots: 15, sev_snp_slots: 5, libvirt_version: '10.4' })

    const { slots, missing } = await view.look(signal)
    driver.reconfigure({ libvirt_version: '10.5' })

    expect(slots).toEqual({ 'amd-sev': 15 })
    expect(missing).toEqual({
      'amd-sev-es': expect.stringContaining('CVE-2025-48514'),
      'amd-sev-snp': 'libvirt does not offer launch security of type sev-snp: libvirt >= 10.5 and QEMU >= 9.1 do',
    })
    expect((await view.look(signal)).slots).toEqual({ 'amd-sev': 15, 'amd-sev-snp': 5 })
  })
})
