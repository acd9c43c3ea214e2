import { describe, expect, it } from 'vitest'
import { parseDomainCapabilities } from '../../../src/compute/libvirt/domain-capabilities.ts'
import { NO_FIRMWARE_FILES } from '../../../src/compute/libvirt/domain-options.ts'
import { effectiveDescriptors } from '../../../src/compute/libvirt/firmware-descriptors.ts'
import { decideHostCapabilities, type HostFacts } from '../../../src/compute/libvirt/host-capabilities.ts'
import { capabilitiesXml, WITH_SNP } from '../support/domain-capabilities.ts'
import { aDescriptor } from '../support/firmware-descriptors.ts'

function decide(changes: Partial<HostFacts> = {}, sev_snp = 'N') {
  return decideHostCapabilities({
    arch: 'x86_64',
    defaultMachineType: 'q35',
    machineTypes: ['q35', 'pc'],
    documents: [parseDomainCapabilities(capabilitiesXml({ launchSecurity: WITH_SNP }))],
    kernel: { sev: 'Y', sev_es: 'Y', sev_snp },
    ...changes,
  })
}

const STATELESS = { mapping: { device: 'flash', mode: 'stateless' } }
const IN_MEMORY = { mapping: { device: 'memory' } }

const reading = (...texts: readonly string[]) =>
  effectiveDescriptors([texts.map((text, index) => ({ name: `${index}.json`, text }))])

const withFirmware = (firmware: string) => [parseDomainCapabilities(capabilitiesXml({ firmware }))]
const withDisks = (buses: string) =>
  parseDomainCapabilities(
    capabilitiesXml({ launchSecurity: WITH_SNP }).replace(
      '<features>',
      `<devices><disk supported='yes'><enum name='bus'>${buses}</enum></disk></devices><features>`,
    ),
  )

describe('a host offers a model only with all that a launch needs', () => {
  it('needs firmware whose descriptor has the model, where descriptors can be read', () => {
    const host = decide({ descriptors: reading(aDescriptor(['amd-sev', 'acpi-s3'])) })

    expect(host.slots).toEqual({ 'amd-sev': 410 })
    expect(host.missing['amd-sev-es']).toBe(
      'no firmware descriptor has amd-sev-es: install an OVMF that does, or set compute.uefi_loader',
    )
    expect(host.firmwareFeatures).toEqual(['acpi-s3', 'amd-sev'])
  })

  it('needs one descriptor that has the model and is in memory for SEV-SNP, not two with a half each', () => {
    const all = ['amd-sev', 'amd-sev-es', 'amd-sev-snp']
    const halves = reading(aDescriptor(all), aDescriptor(['amd-sev'], IN_MEMORY))

    expect(decide({ descriptors: halves }, 'Y')).toMatchObject({
      slots: { 'amd-sev': 410 },
      missing: {
        'amd-sev-snp':
          'no firmware descriptor with amd-sev-snp is in memory (device memory): install an OVMF that does, or set compute.uefi_stateless_loader',
      },
      firmwareFeatures: ['amd-sev', 'amd-sev-es'],
      statelessFirmwareFeatures: ['amd-sev'],
      uefiGuests: { stateful: ['plain', 'amd-sev', 'amd-sev-es'], stateless: ['plain', 'amd-sev'] },
    })
    expect(decide({ descriptors: reading(aDescriptor(all, IN_MEMORY)) }, 'Y')).toMatchObject({
      slots: { 'amd-sev': 410, 'amd-sev-snp': 99 },
      uefiGuests: { stateless: ['plain', ...all] },
    })
  })

  it('takes no flash for SEV-SNP, though a descriptor says so and libvirt would take it; other models boot from it', () => {
    const all = ['amd-sev', 'amd-sev-es', 'amd-sev-snp']
    const flash = aDescriptor(all, STATELESS)
    const lack =
      'the firmware descriptor with amd-sev-snp that libvirt takes, the first by name, is flash, which KVM does not give such guests: override it by one of its name in /etc/qemu/firmware with device memory, or set compute.uefi_stateless_loader'

    for (const descriptors of [reading(flash), reading(flash, aDescriptor(all, IN_MEMORY))]) {
      expect(decide({ descriptors }, 'Y')).toMatchObject({
        missing: { 'amd-sev-snp': lack },
        uefiGuests: { stateless: ['plain', 'amd-sev', 'amd-sev-es'] },
      })
    }
    expect(decide({ descriptors: reading(aDescriptor(all, IN_MEMORY), flash) }, 'Y').slots).toMatchObject({
      'amd-sev-snp': 99,
    })
    const firmwareFiles = { ...NO_FIRMWARE_FILES, statelessLoader: '/amdsev.fd' }
    expect(decide({ descriptors: reading(flash), firmwareFiles }, 'Y').slots).toMatchObject({ 'amd-sev-snp': 99 })
  })

  it('tells which guests UEFI firmware boots, with their variables and without, where that can be told', () => {
    const all = ['plain', 'amd-sev', 'amd-sev-es', 'amd-sev-snp']
    const stateless = { ...NO_FIRMWARE_FILES, statelessLoader: '/amdsev.fd' }
    const stateful = { ...NO_FIRMWARE_FILES, loader: '/code.fd', nvramTemplate: '/vars.fd' }
    const split = reading(aDescriptor(['amd-sev']))

    expect(decide().uefiGuests).toBeUndefined()
    expect(decide({ firmwareFiles: stateless }).uefiGuests).toBeUndefined()
    expect(decide({ descriptors: split }).uefiGuests).toEqual({ stateful: ['plain', 'amd-sev'], stateless: [] })
    expect(decide({ descriptors: split, firmwareFiles: stateless }).uefiGuests).toEqual({
      stateful: ['plain', 'amd-sev'],
      stateless: all,
    })
    expect(decide({ descriptors: reading(aDescriptor([], STATELESS)), firmwareFiles: stateful }).uefiGuests).toEqual({
      stateful: all,
      stateless: ['plain'],
    })
    expect(decide({ documents: withFirmware(''), descriptors: split }).uefiGuests).toEqual({
      stateful: [],
      stateless: [],
    })
  })

  it('has UEFI by a stateless file alone, which guests with SEV-SNP boot', () => {
    const snp = [parseDomainCapabilities(capabilitiesXml({ firmware: '', launchSecurity: WITH_SNP }))]
    const firmwareFiles = { ...NO_FIRMWARE_FILES, statelessLoader: '/amdsev.fd' }

    expect(decide({ documents: snp, firmwareFiles }, 'Y')).toMatchObject({
      slots: { 'amd-sev-snp': 99 },
      supportsUefi: false,
      namedFirmware: true,
      uefiGuests: { stateful: [] },
    })
  })

  it('takes files that the operator names in place of descriptors, each kind for its models', () => {
    const files = { loader: '/code.fd', nvramTemplate: '/vars.fd', statelessLoader: undefined }
    const named = { ...NO_FIRMWARE_FILES, ...files }

    expect(decide({ descriptors: [], firmwareFiles: named }).slots).toEqual({ 'amd-sev': 410, 'amd-sev-es': 99 })
    expect(decide({ descriptors: [], firmwareFiles: named }, 'Y').missing['amd-sev-snp']).toMatch(
      /no firmware descriptor has amd-sev-snp.*compute.uefi_stateless_loader/,
    )
    const stateless = { ...named, statelessLoader: '/amdsev.fd' }
    expect(decide({ descriptors: [], firmwareFiles: stateless }, 'Y').slots).toEqual({
      'amd-sev': 410,
      'amd-sev-snp': 99,
    })
  })

  it('needs UEFI at all', () => {
    const host = decide({ documents: withFirmware('') })

    expect(host.slots).toEqual({})
    expect(host.missing['amd-sev']).toMatch(/libvirt finds no UEFI firmware: install OVMF with its descriptors/)
  })

  it('needs the machine type q35', () => {
    const host = decide({ machineTypes: ['pc', 'pc-i440fx-9.2', 'notq35'] })

    expect(host.missing['amd-sev']).toBe(
      'QEMU has no machine type q35, which encrypted guests need: install one that has it',
    )
  })

  it('needs disks on SCSI, unless libvirt does not tell its buses', () => {
    const buses = (...names: string[]) => names.map((name) => `<value>${name}</value>`).join('')

    expect(decide({ documents: [withDisks(buses('scsi', 'virtio'))] }).slots).toMatchObject({ 'amd-sev': 410 })
    expect(decide({ documents: [withDisks(buses('virtio', 'sata'))] }).missing['amd-sev']).toMatch(
      /no SCSI disks on q35/,
    )
    expect(decide().slots).toMatchObject({ 'amd-sev': 410 })
  })

  it('offers nothing where libvirt has no document, or the processor is of another make, and says so of each model', () => {
    expect(Object.values(decide({ documents: [] }).missing)).toEqual(
      Array(3).fill('libvirt tells no domain capabilities: install QEMU for x86_64, with KVM'),
    )
    expect(decide({ arch: 'aarch64' }).missing['amd-sev-snp']).toBe("the host is aarch64; SEV is AMD's, on x86_64")
  })
})
