import { describe, expect, it } from 'vitest'
import { parseDomainCapabilities } from '../../../src/compute/libvirt/domain-capabilities.ts'
import { decideHostCapabilities, HostCapabilities } from '../../../src/compute/libvirt/host-capabilities.ts'
import type { KernelParameters } from '../../../src/compute/libvirt/kernel-parameters.ts'
import { DEFAULT_RESOURCE_OPTIONS, hostReport } from '../../../src/compute/resource-tracker.ts'
import { HostReport } from '../../../src/objects/host-report.ts'
import { capabilitiesXml, EPYC_SEV, WITH_SNP } from '../support/domain-capabilities.ts'

const ALL_OFF: KernelParameters = { sev: 'N\n', sev_es: 'N\n', sev_snp: 'N\n' }

function decide(xml: string, kernel: Partial<KernelParameters>, arch = 'x86_64') {
  const documents = [parseDomainCapabilities(xml)]
  const kernelParameters = { ...ALL_OFF, ...kernel }
  return decideHostCapabilities({
    arch,
    defaultMachineType: 'q35',
    machineTypes: ['q35'],
    documents,
    kernel: kernelParameters,
  })
}

/** As the scheduler would take it. */
function reported(capabilities: HostCapabilities): HostReport {
  const resources = { vcpus: 64, memory_mb: 65_536, disk_gb: 100 }
  const more = { hypervisorType: 'QEMU', options: DEFAULT_RESOURCE_OPTIONS, reportIntervalSeconds: 10 }
  return HostReport.parse(hostReport({ host: 'h1', capabilities, resources, ioOps: 0, traits: [], ...more }))
}

describe('host capabilities', () => {
  it('offer SEV and SEV-ES with the slots that libvirt counts, when the kernel has both on', () => {
    const host = decide(capabilitiesXml(), { sev: '1\n', sev_es: 'Y\n' })

    expect(host).toEqual({
      arch: 'x86_64',
      defaultMachineType: 'q35',
      machineTypes: ['q35'],
      supportsUefi: true,
      slots: { 'amd-sev': 410, 'amd-sev-es': 99 },
      missing: { 'amd-sev-snp': 'the kernel has it off: load kvm_amd with sev_snp=1 and enable SNP in the BIOS' },
      cbitpos: 51,
      reducedPhysBits: 1,
    })
  })

  it('offer SEV-SNP instead of SEV-ES when the kernel has SNP on, with the slots of SEV-ES', () => {
    const host = decide(capabilitiesXml({ launchSecurity: WITH_SNP }), { sev: 'Y', sev_es: 'Y', sev_snp: 'Y' })

    expect(host.slots).toEqual({ 'amd-sev': 410, 'amd-sev-snp': 99 })
    expect(host.missing['amd-sev-es']).toMatch(/CVE-2025-48514.*sev_snp=0/)
  })

  it('offer neither SEV-ES nor SEV-SNP when the kernel has SNP on and libvirt does not know it', () => {
    const host = decide(capabilitiesXml(), { sev: 'Y', sev_es: 'Y', sev_snp: 'Y' })

    expect(host.slots).toEqual({ 'amd-sev': 410 })
    expect(host.missing['amd-sev-snp']).toMatch(/libvirt >= 10.5/)
  })

  it.each(['1\n', 'Y\n', 'y', 'on', 'TRUE', ' yes '])('read the kernel parameter %j as on', (sev) => {
    expect(decide(capabilitiesXml(), { sev }).slots).toEqual({ 'amd-sev': 410 })
  })

  it.each(['0\n', 'N\n', '', '2', 'maybe', undefined])('read the kernel parameter %j as off', (sev) => {
    const host = decide(capabilitiesXml(), { sev, sev_es: 'Y', sev_snp: 'Y' })

    expect(host.slots).toEqual({})
    expect(Object.keys(host.missing)).toEqual(['amd-sev', 'amd-sev-es', 'amd-sev-snp'])
    expect(host.missing['amd-sev']).toMatch(/kvm_amd with sev=1/)
  })

  it.each([
    ["<sev supported='no'/>"],
    [''],
    ["<sev supported='no'><cbitpos>47</cbitpos><reducedPhysBits>1</reducedPhysBits></sev>"],
  ])('offer nothing when libvirt says %s, whatever the kernel says', (sev) => {
    const host = decide(capabilitiesXml({ sev }), { sev: 'Y', sev_es: 'Y' })

    expect(host.slots).toEqual({})
    expect(host.missing['amd-sev']).toMatch(/libvirt and QEMU report no SEV/)
    expect(host.cbitpos).toBeUndefined()
  })

  it('do not limit SEV when an old libvirt does not count, and offer no SEV-ES then', () => {
    const sev = "<sev supported='yes'><cbitpos>47</cbitpos><reducedPhysBits>1</reducedPhysBits></sev>"

    const host = decide(capabilitiesXml({ sev }), { sev: 'Y', sev_es: 'Y' })

    expect(host.slots).toEqual({ 'amd-sev': 2_147_483_647 })
    expect(host.missing['amd-sev-es']).toBe(
      'libvirt does not tell how many guests it allows: libvirt >= 8.0 does, or set compute.num_sev_es_encrypted_guests to their number',
    )
    expect(host.uncounted).toEqual(['amd-sev-es'])
  })

  it('do not count as lacking a number alone what lacks more', () => {
    const sev = "<sev supported='yes'><cbitpos>47</cbitpos><reducedPhysBits>1</reducedPhysBits></sev>"

    const host = decide(capabilitiesXml({ sev, firmware: '' }), { sev: 'Y', sev_es: 'Y' })

    expect(host.missing['amd-sev-es']).toMatch(/no UEFI firmware/)
    expect(host.uncounted).toBeUndefined()
  })

  it('offer SEV-ES alone when the BIOS gives it all keys', () => {
    const sev = EPYC_SEV.replace('410', '0')

    const host = decide(capabilitiesXml({ sev }), { sev: 'Y', sev_es: 'Y' })

    expect(host.slots).toEqual({ 'amd-sev-es': 99 })
    expect(host.missing['amd-sev']).toMatch(/in the BIOS/)
  })

  it('offer no SEV-ES when the BIOS gives it no keys', () => {
    const host = decide(capabilitiesXml({ sev: EPYC_SEV.replace('99', '0') }), { sev: 'Y', sev_es: 'Y' })

    expect(host.slots).toEqual({ 'amd-sev': 410 })
  })

  it('count a number that makes no sense as absent', () => {
    const host = decide(capabilitiesXml({ sev: EPYC_SEV.replace('51', '-1') }), { sev: 'Y' })

    expect([host.cbitpos, host.reducedPhysBits]).toEqual([undefined, 1])
  })

  it.each(['2147483648', '4294967295', '9999999999'])(
    'take %s guests, more than an inventory holds, for no limit',
    (many) => {
      const host = decide(capabilitiesXml({ sev: EPYC_SEV.replace('>99<', `>${many}<`).replace('410', many) }), {
        sev: 'Y',
        sev_es: 'Y',
      })

      expect(host.slots).toEqual({ 'amd-sev': 2_147_483_647, 'amd-sev-es': 2_147_483_647 })
      expect(reported(host).providers.map(({ name }) => name)).toEqual(['h1', 'h1_amd_sev', 'h1_amd_sev_es'])
    },
  )

  it.each(['64', '4294967295'])('count an address bit %s, which no processor has, as absent', (bit) => {
    const sev = EPYC_SEV.replace('51', bit).replace('>1<', `>${bit}<`)

    const host = decide(capabilitiesXml({ sev }), { sev: 'Y' })

    expect([host.cbitpos, host.reducedPhysBits]).toEqual([undefined, undefined])
    expect(HostCapabilities.parse(host)).toEqual(host)
  })

  it('offer nothing on another architecture', () => {
    expect(decide(capabilitiesXml(), { sev: 'Y' }, 'aarch64').missing['amd-sev']).toMatch(/aarch64/)
  })

  it('have UEFI when libvirt can pick a firmware for q35', () => {
    expect(decide(capabilitiesXml({ firmware: '' }), {}).supportsUefi).toBe(false)
  })

  it('find SEV and UEFI in the document of the machine type that has them', () => {
    const pc = parseDomainCapabilities(capabilitiesXml({ machine: 'pc-i440fx-9.2', sev: '', firmware: '' }))
    const q35 = parseDomainCapabilities(capabilitiesXml())
    const facts = { arch: 'x86_64', defaultMachineType: 'pc', machineTypes: ['pc', 'q35'] }

    const host = decideHostCapabilities({ ...facts, documents: [pc, q35], kernel: { ...ALL_OFF, sev: 'Y' } })

    expect([host.supportsUefi, host.slots]).toEqual([true, { 'amd-sev': 410 }])
  })
})
