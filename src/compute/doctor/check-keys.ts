import { UNKNOWN_SLOTS } from '../libvirt/domain-capabilities.ts'
import { CPUID_FIX } from './check-processor.ts'
import { demandOf } from './doctor-options.ts'
import { type EncryptionLeaf, type KeySplit, keySplit } from './encryption-leaf.ts'
import type { Examination } from './examination.ts'
import type { ExaminedHost } from './examined-host.ts'
import { type Finding, pass, skip, warn } from './finding.ts'
import { lackOf } from './lack.ts'
import { readValue, unknown, whyUnread } from './reading.ts'

const SPLIT = { check: 'asid_split', title: 'BIOS: split of keys' }
const KERNEL = { check: 'kernel_keys', title: 'keys by the kernel' }
const LIBVIRT = { check: 'libvirt_keys', title: 'keys by libvirt' }

const RAISE = 'BIOS: raise "SEV-ES ASID space limit" ("Minimum SEV non-ES ASID"), then cold boot'
const LOWER = 'BIOS: lower "SEV-ES ASID space limit" ("Minimum SEV non-ES ASID"), then cold boot'

export function checkKeySplit({ host, options }: Examination): Finding {
  const { encryptionLeaf: reading } = host
  if (reading.state !== 'read') {
    const other = keysOfLibvirt(host)
    const known = other && ` libvirt tells ${other.sev} for SEV, ${other.es} for SEV-ES and SEV-SNP.`
    return warn(SPLIT, 'cannot be told', `${whyUnread(reading)}.${known ?? ''}`, CPUID_FIX)
  }
  const leaf = reading.value
  if (!leaf?.sev) return skip(SPLIT, 'no keys', 'the processor has no SEV')
  const { sev, es } = keySplit(leaf)
  const value = `${sev} for SEV, ${es} for SEV-ES and SEV-SNP`
  const meaning = arithmeticOf(leaf)
  if (sev === 0) return lackOf('amd-sev', SPLIT, options, { value, meaning, fix: LOWER })
  if (es === 0) {
    const model = demandOf('amd-sev-es', options) === 'optional' ? 'amd-sev-snp' : 'amd-sev-es'
    const lack = lackOf(model, SPLIT, options, { value, meaning, fix: RAISE })
    return lack.verdict === 'skip' ? pass(SPLIT, value, lack.meaning) : lack
  }
  return pass(SPLIT, value, meaning)
}

/** In words and numbers, so that it can be checked by hand. */
function arithmeticOf(leaf: EncryptionLeaf): string {
  const { encryptedGuests: ecx, minSevNoEsAsid: edx } = leaf
  const { sev, es } = keySplit(leaf)
  const registers = `ECX = ${ecx} keys, EDX = ${edx} is the first for SEV`
  const upper =
    sev > 0
      ? `SEV has EDX..ECX = ${edx}..${ecx}: ${ecx} - ${edx} + 1 = ${sev}`
      : `EDX is above ECX, which leaves none for SEV`
  const lower =
    es > 0 ? lowerKeys(leaf, es) : `nothing is below it for SEV-ES and SEV-SNP: ${edx} - 1 = ${Math.max(edx - 1, 0)}`
  return `${registers}; ${upper}; ${lower}`
}

function lowerKeys({ encryptedGuests: ecx, minSevNoEsAsid: edx }: EncryptionLeaf, es: number): string {
  if (edx > ecx) return `SEV-ES and SEV-SNP share 1..${es}: no key is above ${ecx}`
  return `SEV-ES and SEV-SNP share 1..EDX-1 = 1..${es}: ${edx} - 1 = ${es}`
}

export function checkKernelKeys({ host }: Examination): Finding {
  const { keys: reading } = host
  if (reading.state === 'absent' && host.encryptionLeaf.state === 'read' && !readValue(host.encryptionLeaf)?.sev)
    return skip(KERNEL, 'not judged', 'the processor has no SEV')
  if (reading.state !== 'read') {
    return unknown(KERNEL, reading, 'take Linux 5.13 or later, with control groups of version 2 (misc controller)')
  }
  const { keys, knowsUse } = reading.value
  const { sev, sev_es: es } = keys
  const used = (count: { current: number; capacity: number }) =>
    knowsUse ? `${count.current} of ${count.capacity}` : `${count.capacity}`
  const value = `misc.capacity${knowsUse ? ' and misc.current' : ''}: ${used(sev)} SEV, ${used(es)} SEV-ES and SEV-SNP`
  const leaf = readValue(host.encryptionLeaf)
  if (sev.capacity + es.capacity === 0) return noneOfKernel(host, value)
  const expected = leaf && keySplit(leaf)
  // A kind that a parameter of the module switches off has a capacity of 0, whatever the BIOS leaves it.
  if (expected && (isOther(sev.capacity, expected.sev) || isOther(es.capacity, expected.es))) {
    const meaning = `the kernel counts otherwise than the processor: ${expected.sev} SEV, ${expected.es} SEV-ES and SEV-SNP`
    return warn(KERNEL, value, meaning, 'look at dmesg | grep -i sev; load kvm_amd anew, or reboot')
  }
  const full = [...(isFull(sev) ? ['SEV'] : []), ...(isFull(es) ? ['SEV-ES and SEV-SNP'] : [])]
  if (full.length > 0) {
    const meaning = `all keys for ${full.join(' and ')} are in use: no further guest starts`
    return warn(KERNEL, value, meaning, 'compare with the guests: sevbus audit; stop QEMU processes that stayed behind')
  }
  return pass(KERNEL, value, leaf ? 'as the split says' : 'there is no leaf to compare it with')
}

function isOther(counted: number, expected: number): boolean {
  return counted !== 0 && counted !== expected
}

function isFull({ current, capacity }: { readonly current: number; readonly capacity: number }): boolean {
  return capacity > 0 && current >= capacity
}

function noneOfKernel({ encryptionLeaf }: ExaminedHost, value: string): Finding {
  if (!readValue(encryptionLeaf)?.sev) return skip(KERNEL, value, 'the kernel has no keys to count')
  return warn(KERNEL, value, 'the processor has keys, and the kernel offers none', 'load kvm_amd with sev=1')
}

export function checkLibvirtKeys({ host }: Examination): Finding {
  const told = keysOfLibvirt(host)
  if (!('documents' in host.hypervisor)) return skip(LIBVIRT, 'not judged', 'libvirt does not answer')
  if (told === undefined) return skip(LIBVIRT, 'not told', 'libvirt reports no SEV here, or no numbers (before 8.0)')
  const value = `maxGuests ${told.sev}, maxESGuests ${told.es}`
  const leaf = readValue(host.encryptionLeaf)
  if (leaf === undefined) return pass(LIBVIRT, value, 'there is no leaf to compare it with')
  const split = keySplit(leaf)
  if (told.sev === split.sev && told.es === split.es) return pass(LIBVIRT, value, 'as the split says')
  const meaning = `the processor has ${split.sev} and ${split.es}: libvirt remembers what was before a change of the BIOS`
  return warn(LIBVIRT, value, meaning, 'rm /var/cache/libvirt/qemu/capabilities/*.xml && systemctl restart libvirtd')
}

function keysOfLibvirt({ hypervisor }: ExaminedHost): KeySplit | undefined {
  if (!('documents' in hypervisor)) return undefined
  const sev = hypervisor.documents.find((document) => document.sev.supported)?.sev
  if (sev?.maxGuests === undefined || sev.maxEsGuests === undefined || sev.maxGuests === UNKNOWN_SLOTS) return undefined
  return { sev: sev.maxGuests, es: sev.maxEsGuests }
}
