import { create } from 'xmlbuilder2'
import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import type { DescriptorFile } from '../libvirt/firmware-descriptors.ts'
import type { KernelParameters } from '../libvirt/kernel-parameters.ts'
import { type FakeHostFacts, machinesOf } from './fake-host-options.ts'

/** What libvirt would tell about the host as a whole. */
export function libvirtCapabilitiesDocument(facts: FakeHostFacts): string {
  const machine = Object.entries(machinesOf(facts)).flatMap(([alias, canonical]) => [
    { '@maxCpus': 288, '#': canonical },
    { '@canonical': canonical, '@maxCpus': 288, '#': alias },
  ])
  const arch = { '@name': 'x86_64', wordsize: 64, machine, domain: [{ '@type': 'qemu' }, { '@type': 'kvm' }] }
  const document = { capabilities: { host: { cpu: { arch: 'x86_64' } }, guest: { os_type: 'hvm', arch } } }
  return create(document).end({ prettyPrint: true, headless: true, wellFormed: true })
}

/** The descriptors that its distribution would bring: flash that keeps variables, and a build in memory, which SEV-SNP needs. */
export function descriptorFilesOf({ firmware_features, supports_uefi }: FakeHostFacts): readonly DescriptorFile[] {
  if (!supports_uefi) return []
  const ofFlash = firmware_features.filter((feature) => feature !== 'amd-sev-snp')
  return [
    aDescriptor('50-ovmf.json', { device: 'flash', mode: 'split' }, ofFlash),
    aDescriptor('60-ovmf-amdsev.json', { device: 'memory' }, firmware_features),
  ]
}

function aDescriptor(name: string, mapping: object, features: readonly string[]): DescriptorFile {
  const targets = [{ architecture: 'x86_64', machines: ['pc-i440fx-*', 'pc-q35-*'] }]
  return { name, text: JSON.stringify({ 'interface-types': ['uefi'], mapping, targets, features }) }
}

/** The document that its libvirt would give for this host and machine type, with the parts that anybody reads. */
export function capabilitiesDocument(facts: FakeHostFacts, machine: string): string {
  const sevTypes = facts.sev_snp_slots > 0 ? ['sev', 'sev-snp'] : ['sev']
  const hasSev = facts.sev_slots + esKeys(facts) > 0
  const sev = hasSev && {
    cbitpos: 51,
    reducedPhysBits: 1,
    ...(isSince(facts, 8, 0) && { maxGuests: facts.sev_slots, maxESGuests: esKeys(facts) }),
  }
  const document = {
    domainCapabilities: {
      path: '/usr/bin/qemu-system-x86_64',
      domain: 'kvm',
      machine,
      arch: 'x86_64',
      vcpu: { '@max': 288 },
      os: {
        '@supported': 'yes',
        enum: { '@name': 'firmware', ...(facts.supports_uefi && { value: 'efi' }) },
        loader: { '@supported': 'yes', enum: { '@name': 'type', value: ['rom', 'pflash'] } },
      },
      devices: { disk: { '@supported': 'yes', enum: { '@name': 'bus', value: [...facts.disk_buses] } } },
      features: {
        vmcoreinfo: { '@supported': 'yes' },
        sev: { '@supported': hasSev ? 'yes' : 'no', ...sev },
        ...(isSince(facts, 10, 5) && {
          launchSecurity: {
            '@supported': hasSev ? 'yes' : 'no',
            ...(hasSev && { enum: { '@name': 'sectype', value: sevTypes } }),
          },
        }),
      },
    },
  }
  return create(document).end({ prettyPrint: true, headless: true, wellFormed: true })
}

/** What the kernel shows: as the slots say, unless the options set a parameter by itself. */
export function kernelParametersOf(facts: FakeHostFacts): KernelParameters {
  const flag = (on: boolean) => (on ? 'Y\n' : 'N\n')
  return {
    sev: flag(facts.sev_slots + esKeys(facts) > 0),
    sev_es: flag(esKeys(facts) > 0),
    sev_snp: flag(facts.sev_snp_slots > 0),
    ...facts.kernel_parameters,
  }
}

function isSince({ libvirt_version }: FakeHostFacts, major: number, minor: number): boolean {
  const [itsMajor = 0, itsMinor = 0] = libvirt_version.split('.').map(Number)
  return itsMajor > major || (itsMajor === major && itsMinor >= minor)
}

/** Encryption keys for guests of the model, whether libvirt tells their number or not. */
export function keysFor(model: MemEncryptionModel, facts: FakeHostFacts): number {
  return model === 'amd-sev' ? facts.sev_slots : esKeys(facts)
}

/** One set of keys for both, as on real hosts. */
function esKeys({ sev_es_slots, sev_snp_slots }: FakeHostFacts): number {
  return Math.max(sev_es_slots, sev_snp_slots)
}
