/** What the processor says of memory encryption. Source: AMD64 APM volume 3, CPUID Fn8000_001F. */
export interface EncryptionLeaf {
  readonly sme: boolean
  readonly sev: boolean
  readonly sevEs: boolean
  readonly sevSnp: boolean
  readonly vmpl: boolean
  /** Position of the bit in an address that says that a page is encrypted. */
  readonly cBitPosition: number
  /** Address bits that encryption costs. */
  readonly physAddrReduction: number
  /** ECX: the number of keys, all kinds together; also the highest ASID. */
  readonly encryptedGuests: number
  /** EDX: the lowest ASID of a guest with SEV and without SEV-ES. The BIOS sets it. */
  readonly minSevNoEsAsid: number
}

export const LEAF_NUMBER = 0x8000_001f
/** Its EAX is the highest leaf of this range: others read as something else (Intel repeats its last basic leaf). */
export const EXTENDED_LEAVES = 0x8000_0000
/** EAX, EBX, ECX, EDX. */
export const REGISTERS_BYTES = 16

export function registersOf(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, REGISTERS_BYTES)
  const [eax, ebx, ecx, edx] = [0, 4, 8, 12].map((offset) => view.getUint32(offset, true))
  return { eax: eax ?? 0, ebx: ebx ?? 0, ecx: ecx ?? 0, edx: edx ?? 0 }
}

export function encryptionLeaf({ eax, ebx, ecx, edx }: ReturnType<typeof registersOf>): EncryptionLeaf {
  const bit = (number: number) => ((eax >>> number) & 1) === 1
  return {
    sme: bit(0),
    sev: bit(1),
    sevEs: bit(3),
    sevSnp: bit(4),
    vmpl: bit(5),
    cBitPosition: ebx & 0x3f,
    physAddrReduction: (ebx >>> 6) & 0x3f,
    encryptedGuests: ecx,
    minSevNoEsAsid: edx,
  }
}

/** Keys for guests with SEV, and those that guests with SEV-ES and SEV-SNP share. */
export interface KeySplit {
  readonly sev: number
  readonly es: number
}

/** As Linux counts them (sev_hardware_setup): ASID 0 is the host's own. */
export function keySplit({ encryptedGuests: last, minSevNoEsAsid: first }: EncryptionLeaf): KeySplit {
  const lowest = Math.max(first, 1)
  return { sev: Math.max(last - lowest + 1, 0), es: Math.min(lowest - 1, last) }
}
