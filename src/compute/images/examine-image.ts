import { open } from 'node:fs/promises'
import { z } from 'zod'
import { DiskCreationFailed, ImageUnacceptable } from '../../errors.ts'
import { imageLabel } from '../../objects/image-meta.ts'
import { runTool } from '../run-tool.ts'
import { HEAD_BYTES, imageFormat, TAIL_BYTES } from './image-format.ts'
import type { StoredImage } from './image-source.ts'
import { qcow2Flaw } from './qcow2-header.ts'

/** What qemu-img may take to look at an image: Nova's QEMU_IMG_LIMITS. */
const LIMITS = { addressSpaceBytes: 1024 ** 3, cpuSeconds: 30 }
const TIMEOUT_MS = 60_000

const CONVERT = 'convert it (qemu-img convert -O qcow2) and put that into the store'

export interface ExaminedImage {
  readonly format: 'raw' | 'qcow2'
  /** What a guest sees as the size of its disk. */
  readonly virtualBytes: number
}

/** What of `qemu-img info --output=json` is looked at. Source: QEMU's `qapi/block-core.json`, ImageInfo. */
const QemuImgInfo = z.object({
  format: z.string(),
  'virtual-size': z.number(),
  'backing-filename': z.string().optional(),
  encrypted: z.boolean().optional(),
  snapshots: z.array(z.unknown()).optional(),
  'format-specific': z
    .object({ data: z.object({ 'data-file': z.unknown().optional(), corrupt: z.boolean().optional() }).optional() })
    .optional(),
})

/**
 * A file of a stranger is a disk that a guest may have, or is refused: of the format that the request says, and nothing
 * but itself. Our own look comes first, because QEMU's programs open what an image names; then `qemu-img`, within limits
 * of time and memory, must say the same.
 *
 * @throws ImageUnacceptable, HostCapabilityMissing, DiskCreationFailed, or the signal's reason
 */
export async function examineImage(
  image: StoredImage,
  path: string,
  toolPath: string,
  signal: AbortSignal,
): Promise<ExaminedImage> {
  refuseContainer(image)
  const { head, tail } = await endsOf(path)
  const format = imageFormat(head, tail)
  refuseOtherFormat(image, format)
  if (format !== 'raw' && format !== 'qcow2') throw unacceptable(image, `it is a ${format} image`, CONVERT)
  const flaw = format === 'qcow2' ? qcow2Flaw(head) : undefined
  if (flaw !== undefined) throw unacceptable(image, flaw, CONVERT)
  const options = { path: toolPath, timeoutMs: TIMEOUT_MS, limits: LIMITS }
  const qemuImg = async (...args: readonly string[]) => {
    try {
      return await runTool('qemu-img', [...args, path], options, signal)
    } catch (error) {
      if (isByTheImage(error)) throw unacceptable(image, `qemu-img refuses it: ${lastLine(error)}`, CONVERT)
      throw error
    }
  }
  const info = QemuImgInfo.parse(JSON.parse(await qemuImg('info', '--output=json', '--force-share')))
  refuseByInfo(image, format, info)
  if (format === 'qcow2') await leaksAside(qemuImg('check', '-q', '-f', 'qcow2', '--force-share'))
  return { format, virtualBytes: info['virtual-size'] }
}

/** Source: qemu-img(1), "check": 1 and 2 are errors and corruption, as of an image that is cut off; 3 is only waste. */
const EXIT_BY_THE_IMAGE: readonly unknown[] = [1, 2]
const EXIT_LEAKS = 3

/** The same bytes are refused by every qemu-img; one that was killed, or is not there, says nothing of them. */
function isByTheImage(error: unknown): error is DiskCreationFailed & Error {
  return error instanceof DiskCreationFailed && EXIT_BY_THE_IMAGE.includes(error.details.exit_code)
}

async function leaksAside(check: Promise<unknown>): Promise<void> {
  await check.catch((error: unknown) => {
    if (error instanceof DiskCreationFailed && error.details.exit_code === EXIT_LEAKS) return
    throw error
  })
}

function lastLine({ message }: Error): string {
  return message.trim().split('\n').at(-1) ?? ''
}

/** The whole of it must be the disk: `ova` and `docker` are archives. */
function refuseContainer(image: StoredImage): void {
  const { container_format: container } = image
  if (container === null || container === undefined || container.toLowerCase() === 'bare') return
  throw unacceptable(image, `it has container_format=${container}`, 'put the disk itself into the store, as bare')
}

function refuseOtherFormat(image: StoredImage, format: string): void {
  const { disk_format: said } = image
  if (said === null || said === undefined || said.toLowerCase() === format) return
  throw unacceptable(
    image,
    `it has disk_format=${said}, but its content is ${format}`,
    ['raw', 'qcow2'].includes(format) ? `set disk_format=${format} on the image` : CONVERT,
  )
}

function refuseByInfo(image: StoredImage, format: string, info: z.infer<typeof QemuImgInfo>): void {
  const data = info['format-specific']?.data
  const flaws = [
    info.format !== format && `qemu-img takes it for ${info.format}`,
    info['backing-filename'] !== undefined && 'it has a backing file',
    data?.['data-file'] !== undefined && 'its data is in another file (data_file)',
    info.encrypted === true && 'it is encrypted',
    (info.snapshots?.length ?? 0) > 0 && 'it has snapshots',
    data?.corrupt === true && 'it is marked as corrupt',
    info['virtual-size'] <= 0 && 'it is empty',
  ]
  const flaw = flaws.find((each) => each !== false)
  if (flaw !== undefined) throw unacceptable(image, flaw, CONVERT)
}

/** Of a file that nobody else writes to. */
async function endsOf(path: string): Promise<{ readonly head: Buffer; readonly tail: Buffer }> {
  await using file = await open(path, 'r')
  const { size } = await file.stat()
  const part = async (position: number, length: number) => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position)
    return buffer.subarray(0, bytesRead)
  }
  return {
    head: await part(0, Math.min(size, HEAD_BYTES)),
    tail: await part(Math.max(0, size - TAIL_BYTES), TAIL_BYTES),
  }
}

/** Everywhere alike: another host would find the same. */
function unacceptable(image: StoredImage, reason: string, fix: string): ImageUnacceptable {
  return new ImageUnacceptable(`${imageLabel(image)} cannot be a guest's disk: ${reason}; ${fix}`, {
    image: image.id,
    disk_format: image.disk_format ?? null,
    reason,
    fix,
  })
}
