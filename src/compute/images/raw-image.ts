import { z } from 'zod'
import { runTool } from '../run-tool.ts'

/** Longer than any: whoever asks has a deadline of his own. */
const NO_TIMEOUT_MS = 2 ** 31 - 1
const MEASURE = { timeoutMs: 60_000, limits: { addressSpaceBytes: 1024 ** 3, cpuSeconds: 30 } }

/** Bytes on disk that a bare disk made of this qcow2 image takes: its clusters, unpacked; what is empty takes none. */
export async function spaceForRaw(image: string, path: string, signal: AbortSignal): Promise<number> {
  const args = ['measure', '--output=json', '-f', 'qcow2', '-O', 'qcow2', image]
  const text = await runTool('qemu-img', args, { path, ...MEASURE }, signal)
  return z.object({ required: z.number() }).parse(JSON.parse(text)).required
}

/** Unpacks an examined qcow2 image into a bare disk with holes. The format is said, so that nothing is guessed again. */
export async function rawImage(image: string, raw: string, path: string, signal: AbortSignal): Promise<void> {
  const args = ['convert', '-f', 'qcow2', '-O', 'raw', image, raw]
  await runTool('qemu-img', args, { path, timeoutMs: NO_TIMEOUT_MS }, signal)
}
