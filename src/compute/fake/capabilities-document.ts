import { create } from 'xmlbuilder2'
import type { KernelParameters } from '../libvirt/kernel-parameters.ts'
import type { FakeHostFacts } from './fake-host-options.ts'

/** The document that libvirt 11 would give for this host and machine type, with the parts that anybody reads. */
export function capabilitiesDocument(facts: FakeHostFacts, machine: string): string {
  const sevTypes = facts.sev_snp_slots > 0 ? ['sev', 'sev-snp'] : ['sev']
  const hasSev = facts.sev_slots + esKeys(facts) > 0
  const sev = hasSev && {
    cbitpos: 51,
    reducedPhysBits: 1,
    maxGuests: facts.sev_slots,
    maxESGuests: esKeys(facts),
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
      features: {
        vmcoreinfo: { '@supported': 'yes' },
        sev: { '@supported': hasSev ? 'yes' : 'no', ...sev },
        launchSecurity: {
          '@supported': hasSev ? 'yes' : 'no',
          ...(hasSev && { enum: { '@name': 'sectype', value: sevTypes } }),
        },
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

/** One set of keys for both, as on real hosts. */
function esKeys({ sev_es_slots, sev_snp_slots }: FakeHostFacts): number {
  return Math.max(sev_es_slots, sev_snp_slots)
}
