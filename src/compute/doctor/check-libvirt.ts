import type { HypervisorAnswers } from './ask-hypervisor.ts'
import { checkVersion } from './check-versions.ts'
import type { Examination } from './examination.ts'
import { type Check, type Finding, fail, pass } from './finding.ts'
import { lackOf } from './lack.ts'

const ANSWERS = { check: 'libvirt', title: 'libvirt' }
const VERSION = { check: 'libvirt_version', title: 'libvirt version' }
const QEMU = { check: 'qemu_version', title: 'QEMU version' }
const SEV = { check: 'libvirt_sev', title: 'libvirt: SEV' }
const C_BIT = { check: 'c_bit', title: 'libvirt: C-bit' }
const SNP = { check: 'libvirt_snp', title: 'libvirt: SEV-SNP' }

export function checkLibvirt(examination: Examination): readonly Finding[] {
  const { host, options } = examination
  const { hypervisor } = host
  if (!('documents' in hypervisor)) {
    const fix = hypervisor.fix ?? `start libvirtd or virtqemud, and check libvirt.uri (${options.uri})`
    return [fail(ANSWERS, 'no answer', hypervisor.silence, fix)]
  }
  return [
    pass(ANSWERS, options.uri, `answers; ${hypervisor.runningGuests} guests run there`),
    checkVersion(VERSION, 'libvirt', hypervisor.libvirtVersion, options),
    checkVersion(QEMU, 'qemu', hypervisor.qemuVersion, options),
    ...checkCapabilities(examination, hypervisor),
  ]
}

function checkCapabilities({ host, options }: Examination, answers: HypervisorAnswers): readonly Finding[] {
  const { documents } = answers
  if (documents.length === 0) {
    const value = 'no domain capabilities'
    const { virtType } = options.hostOptions
    return [fail(SEV, value, `QEMU has no guests of type ${virtType} here`, 'install QEMU for x86_64; see /dev/kvm')]
  }
  const sev = documents.find((document) => document.sev.supported)?.sev
  if (sev === undefined) {
    const meaning = 'libvirt and QEMU find no SEV'
    const fix =
      'mend processor, kernel and /dev/sev first; then: rm /var/cache/libvirt/qemu/capabilities/*.xml && systemctl restart libvirtd'
    return [fail(SEV, 'not supported', meaning, fix)]
  }
  const types = documents.find((document) => document.launchSecurityTypes)?.launchSecurityTypes
  return [
    pass(SEV, 'supported', 'domain capabilities of q35 or another machine type have it'),
    checkCBit(host, sev),
    checkSnp(SNP, types, options),
  ]
}

function checkCBit(
  { encryptionLeaf }: Examination['host'],
  { cbitpos, reducedPhysBits }: { cbitpos?: number | undefined; reducedPhysBits?: number | undefined },
): Finding {
  const value = `position ${cbitpos ?? '?'}, ${reducedPhysBits ?? '?'} address bits fewer`
  const leaf = encryptionLeaf.state === 'read' ? encryptionLeaf.value : undefined
  if (leaf === undefined) return pass(C_BIT, value, 'what domains are made with; there is no leaf to compare it with')
  if (cbitpos === leaf.cBitPosition) return pass(C_BIT, value, 'as the processor says')
  const meaning = `the processor has it at ${leaf.cBitPosition}: QEMU refuses to start guests`
  return fail(C_BIT, value, meaning, 'rm /var/cache/libvirt/qemu/capabilities/*.xml && systemctl restart libvirtd')
}

function checkSnp(check: Check, types: readonly string[] | undefined, options: Examination['options']): Finding {
  if (types?.includes('sev-snp'))
    return pass(check, 'launch security sev-snp', 'libvirt and QEMU can start such guests')
  const value = types === undefined ? 'kinds of launch security are not told' : `launch security ${types.join(', ')}`
  return lackOf('amd-sev-snp', check, options, {
    value,
    meaning: 'no SEV-SNP by libvirt and QEMU',
    fix: 'take libvirt 10.5 and QEMU 9.1, or later',
  })
}
