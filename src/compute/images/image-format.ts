/** What a disk image begins (or ends) with, as QEMU's drivers probe it. */
interface Signature {
  readonly format: string
  readonly matches: (head: Buffer, tail: Buffer) => boolean
}

const at = (offset: number, magic: string) => (head: Buffer) =>
  head.subarray(offset, offset + magic.length).equals(Buffer.from(magic, 'latin1'))

/** A descriptor of VMDK is text: comments and empty lines, then its version. */
const VMDK_TEXT = /^(?:[ \t]*(?:#[^\n]*)?\r?\n)*version=\d/

const SIGNATURES: readonly Signature[] = [
  { format: 'qcow2', matches: (head) => at(0, 'QFI\xfb')(head) && head.length >= 8 && head.readUInt32BE(4) >= 2 },
  { format: 'qcow', matches: at(0, 'QFI\xfb') },
  { format: 'qed', matches: at(0, 'QED\0') },
  { format: 'vmdk', matches: at(0, 'KDMV') },
  { format: 'vmdk', matches: at(0, 'COWD') },
  { format: 'vmdk', matches: at(0, '# Disk DescriptorFile') },
  { format: 'vmdk', matches: (head) => VMDK_TEXT.test(head.subarray(0, 4096).toString('latin1')) },
  { format: 'vdi', matches: at(0x40, '\x7f\x10\xda\xbe') },
  { format: 'vhd', matches: at(0, 'conectix') },
  // A fixed one is the bare disk with a footer, of 512 bytes or, by old programs, 511.
  { format: 'vhd', matches: (_, tail) => at(0, 'conectix')(tail) || at(1, 'conectix')(tail) },
  { format: 'vhdx', matches: at(0, 'vhdxfile') },
  { format: 'parallels', matches: at(0, 'WithoutFreeSpace') },
  { format: 'parallels', matches: at(0, 'WithouFreSpacExt') },
  { format: 'luks', matches: at(0, 'LUKS\xba\xbe') },
  { format: 'bochs', matches: at(0, 'Bochs Virtual HD Image') },
  { format: 'cloop', matches: at(0, '#!/bin/sh\n#V2.0 Format') },
  { format: 'dmg', matches: (_, tail) => at(0, 'koly')(tail) },
  { format: 'gzip', matches: at(0, '\x1f\x8b') },
  { format: 'xz', matches: at(0, '\xfd7zXZ\0') },
  { format: 'zstd', matches: at(0, '\x28\xb5\x2f\xfd') },
]

/** So many bytes of both ends tell the format. */
export const HEAD_BYTES = 64 * 1024
export const TAIL_BYTES = 512

/**
 * The format by the file's own bytes; `raw` has none to know it by. Ours looks before any program of the host does: QEMU
 * follows what an image names (CVE-2024-32498, CVE-2024-4467), and these are found before.
 *
 * @param head the first bytes, up to `HEAD_BYTES`
 * @param tail the last `TAIL_BYTES`
 */
export function imageFormat(head: Buffer, tail: Buffer): string {
  return SIGNATURES.find(({ matches }) => matches(head, tail))?.format ?? 'raw'
}
