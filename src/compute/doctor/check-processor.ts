import type { EncryptionLeaf } from './encryption-leaf.ts'
import type { Examination } from './examination.ts'
import { AMD } from './examine-processor.ts'
import type { ExaminedHost } from './examined-host.ts'
import { type Finding, fail, pass, skip } from './finding.ts'
import { lackOf } from './lack.ts'
import { readValue, unknown, whyUnread } from './reading.ts'

const PROCESSOR = { check: 'processor', title: 'processor' }
const LEAF = { check: 'cpuid_leaf', title: 'CPUID 0x8000001F' }
const LEAF_ES = { check: 'cpuid_sev_es', title: 'CPUID: SEV-ES' }
const LEAF_SNP = { check: 'cpuid_sev_snp', title: 'CPUID: SEV-SNP' }
const BIOS = { check: 'bios_encryption', title: 'BIOS: SME, SEV' }

export const CPUID_FIX = 'load the module and run as root: modprobe cpuid && sudo sevbus doctor'
const EPYC_FIX = 'take an EPYC host; without one, sevbus runs on simulated hosts, or on an emulated one (sev-emulator/)'

export function checkProcessor({ host }: Examination): Finding {
  const { processor } = host
  if (processor.state !== 'read') return unknown(PROCESSOR, processor, 'mount /proc, and check libvirt.host_root')
  const { vendor, model, family, flags } = processor.value
  const isVirtual = flags.has('hypervisor') ? ', itself a virtual machine' : ''
  const value = `${vendor}, ${model}, family ${family}${isVirtual}`
  if (vendor === AMD) return pass(PROCESSOR, value, 'SEV is in EPYC: family 23 and later')
  const meaning = saysSev(host)
    ? "SEV is AMD's, yet libvirt reports it here: something emulates it, and nothing is encrypted"
    : "SEV is AMD's: this processor has none"
  return fail(PROCESSOR, value, meaning, EPYC_FIX)
}

function saysSev({ hypervisor }: ExaminedHost): boolean {
  return 'documents' in hypervisor && hypervisor.documents.some(({ sev }) => sev.supported)
}

export function checkEncryptionLeaf({ host: { encryptionLeaf: reading }, options }: Examination): readonly Finding[] {
  if (reading.state !== 'read') return [unknown(LEAF, reading, CPUID_FIX)]
  const leaf = reading.value
  if (leaf === undefined) {
    return [fail(LEAF, 'the processor has no such leaf', 'it does not encrypt memory of guests', EPYC_FIX)]
  }
  const value = `${featuresOf(leaf)}; C-bit ${leaf.cBitPosition}, ${leaf.physAddrReduction} address bits fewer`
  if (!leaf.sev) return [fail(LEAF, value, 'no SEV: no EPYC, or a virtual machine that is not given it', EPYC_FIX)]
  const older = (label: string) => ({
    value: `no ${label}`,
    meaning: 'the processor is older than that',
    fix: `take a newer EPYC: the 2nd generation has SEV-ES, the 3rd SEV-SNP`,
  })
  return [
    pass(LEAF, value, 'what the processor is able to do, whatever BIOS and kernel allow'),
    ...(leaf.sevEs ? [] : [lackOf('amd-sev-es', LEAF_ES, options, older('SEV-ES'))]),
    ...(leaf.sevSnp ? [] : [lackOf('amd-sev-snp', LEAF_SNP, options, older('SEV-SNP'))]),
  ]
}

function featuresOf(leaf: EncryptionLeaf): string {
  const names = { SME: leaf.sme, SEV: leaf.sev, 'SEV-ES': leaf.sevEs, 'SEV-SNP': leaf.sevSnp, VMPL: leaf.vmpl }
  const found = Object.entries(names).flatMap(([name, has]) => (has ? [name] : []))
  return found.join(', ') || 'nothing'
}

/**
 * The kernel shows the flags only where the BIOS has switched memory encryption on and locked SMM
 * (arch/x86/kernel/cpu/amd.c, early_detect_mem_encrypt), which saves reading registers that only root may.
 */
export function checkBios({ host: { processor, encryptionLeaf } }: Examination): Finding {
  const leaf = readValue(encryptionLeaf)
  if (encryptionLeaf.state === 'read' && !leaf?.sev) return skip(BIOS, 'not judged', 'the processor has no SEV')
  if (processor.state !== 'read') return unknown(BIOS, processor, 'mount /proc, and check libvirt.host_root')
  const { flags, vendor } = processor.value
  const shown = ['sme', 'sev', 'sev_es', 'sev_snp'].filter((flag) => flags.has(flag))
  const value =
    shown.length > 0 ? `the kernel shows ${shown.join(', ')}` : 'the kernel shows none of sme, sev, sev_es, sev_snp'
  if (flags.has('sev')) return pass(BIOS, value, 'the BIOS has memory encryption on, and SMM locked')
  if (vendor !== AMD) {
    return skip(BIOS, value, `the kernel looks for it on AMD only, and shows nothing on ${vendor}`)
  }
  const meaning =
    leaf === undefined
      ? `off in the BIOS, or not in the processor (${whyUnread(encryptionLeaf)})`
      : 'the processor has SEV, and the BIOS keeps it off, or the kernel is older than 4.16'
  return fail(BIOS, value, meaning, 'BIOS: enable SME (SMEE), SEV and the SMM lock, then cold boot')
}
