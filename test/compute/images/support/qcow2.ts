/** A qcow2 header as QEMU writes it, with what a test puts in it instead. Offsets as in QEMU's `docs/interop/qcow2.txt`. */
export function aQcow2Header(
  changes: {
    readonly version?: number
    readonly backingOffset?: number
    readonly backingSize?: number
    readonly clusterBits?: number
    readonly cryptMethod?: number
    readonly snapshots?: number
    readonly incompatibleFeatures?: bigint
    readonly headerLength?: number
    /** Type and content of each; the end mark follows. */
    readonly extensions?: readonly (readonly [number, string])[]
    readonly endMark?: boolean
  } = {},
): Buffer {
  const { version = 3, headerLength = 112, clusterBits = 16, extensions = [], endMark = true } = changes
  const header = Buffer.alloc(1 << 16)
  header.write('QFI\xfb', 0, 'latin1')
  header.writeUInt32BE(version, 4)
  header.writeBigUInt64BE(BigInt(changes.backingOffset ?? 0), 8)
  header.writeUInt32BE(changes.backingSize ?? 0, 16)
  header.writeUInt32BE(clusterBits, 20)
  header.writeBigUInt64BE(64n * 1024n * 1024n, 24)
  header.writeUInt32BE(changes.cryptMethod ?? 0, 32)
  header.writeUInt32BE(changes.snapshots ?? 0, 60)
  let offset = 72
  if (version >= 3) {
    header.writeBigUInt64BE(changes.incompatibleFeatures ?? 0n, 72)
    header.writeUInt32BE(headerLength, 100)
    offset = headerLength
  }
  for (const [type, content] of extensions) {
    header.writeUInt32BE(type, offset)
    header.writeUInt32BE(content.length, offset + 4)
    header.write(content, offset + 8, 'latin1')
    offset += 8 + Math.ceil(content.length / 8) * 8
  }
  // What is behind the list is anything, and only the end mark says that it is behind.
  if (!endMark) for (let at = offset; at + 8 <= header.length; at += 8) header.writeUInt32BE(0x12345678, at)
  return header
}
