/** QEMU's `docs/interop/qcow2.txt`, "Header": offsets in bytes, numbers big-endian. */
const FIXED_LENGTH = { 2: 72, 3: 104 } as const
const CLUSTER_BITS = { min: 9, max: 21 }

/** Incompatible features that are only about how the file itself is laid out; what has another is refused. */
const COMPRESSION_TYPE = 3
const EXTENDED_L2 = 4
const HARMLESS_FEATURES: readonly number[] = [COMPRESSION_TYPE, EXTENDED_L2]
const DIRTY = 0
const CORRUPT = 1
const EXTERNAL_DATA = 2

const EXTENSION = { end: 0, backingFormat: 0xe2792aca, encryption: 0x0537be77, dataFile: 0x44415441 }

/**
 * Why a guest must not get this image; undefined: nothing is wrong with its header.
 *
 * An image that names another file (a backing file, a data file) would show that file of the host to the guest
 * (CVE-2015-5163, CVE-2022-47951, CVE-2024-32498), so it is found here, before QEMU's own programs open it.
 *
 * @param head the first bytes of the file, which begin with qcow2's magic
 */
export function qcow2Flaw(head: Buffer): string | undefined {
  if (head.length < FIXED_LENGTH[2]) return 'its header is cut off'
  const version = head.readUInt32BE(4)
  if (version !== 2 && version !== 3) return `it is qcow2 of version ${version}, which nobody knows`
  if (head.length < FIXED_LENGTH[version]) return 'its header is cut off'
  const clusterBits = head.readUInt32BE(20)
  if (clusterBits < CLUSTER_BITS.min || clusterBits > CLUSTER_BITS.max) return `its cluster_bits are ${clusterBits}`
  if (head.readBigUInt64BE(8) !== 0n || head.readUInt32BE(16) !== 0) return 'it has a backing file'
  if (head.readUInt32BE(32) !== 0) return 'it is encrypted'
  if (head.readUInt32BE(60) !== 0) return 'it has snapshots'
  return featureFlaw(head, version) ?? extensionFlaw(head, version, 1 << clusterBits)
}

/** Its clusters are in a file that its header names, whatever backing file it is opened with. */
export function hasDataFile(head: Buffer): boolean {
  if (head.length < FIXED_LENGTH[3] || head.readUInt32BE(4) !== 3) return false
  return (head.readBigUInt64BE(72) & (1n << BigInt(EXTERNAL_DATA))) !== 0n
}

function featureFlaw(head: Buffer, version: 2 | 3): string | undefined {
  if (version === 2) return undefined
  const features = head.readBigUInt64BE(72)
  for (let bit = 0; bit < 64; bit++) {
    if ((features & (1n << BigInt(bit))) === 0n || HARMLESS_FEATURES.includes(bit)) continue
    if (bit === EXTERNAL_DATA) return 'its data is in another file (data_file)'
    if (bit === DIRTY) return 'it was not closed properly (dirty)'
    if (bit === CORRUPT) return 'it is marked as corrupt'
    return `it has the incompatible feature ${bit}, which nobody knows`
  }
  return undefined
}

/** The list ends within the first cluster; one that goes on where nobody looked is refused. */
function extensionFlaw(head: Buffer, version: 2 | 3, clusterBytes: number): string | undefined {
  let offset = version === 2 ? FIXED_LENGTH[2] : head.readUInt32BE(100)
  if (offset < FIXED_LENGTH[version] || offset % 8 !== 0) return `its header_length is ${offset}`
  const end = Math.min(head.length, clusterBytes)
  while (offset + 8 <= end) {
    const type = head.readUInt32BE(offset)
    const length = head.readUInt32BE(offset + 4)
    if (type === EXTENSION.end) return undefined
    if (type === EXTENSION.backingFormat) return 'it names the format of a backing file'
    if (type === EXTENSION.dataFile) return 'its data is in another file (data_file)'
    if (type === EXTENSION.encryption) return 'it is encrypted'
    offset += 8 + Math.ceil(length / 8) * 8
  }
  // A header that fills its cluster to the end needs no end mark.
  return offset === clusterBytes ? undefined : 'its header extensions do not end within its first cluster'
}
