import { cp } from 'node:fs/promises'
import { aWorker, type ComputeWorker } from './compute-worker.ts'
import { aFolder } from './folders.ts'

interface Kill {
  /** That it came before. */
  readonly step: string
  readonly folder: string
}

/**
 * Copies what is on disk before each step of the work and after the last: what a kill would leave there.
 *
 * @param also what else happens before a step; it may throw
 */
export async function killsDuring<T>(
  prepare: (worker: ComputeWorker) => Promise<T>,
  work: (worker: ComputeWorker, prepared: T) => Promise<void>,
  also: (step: string) => void = () => {},
): Promise<{ readonly prepared: T; readonly kills: readonly Kill[] }> {
  const kills: Kill[] = []
  let isRecording = false
  let taken = Promise.resolve()
  // One after the other, for some steps are taken at a time.
  const kill = (step: string) => {
    taken = taken.then(async () => {
      const folder = await aFolder()
      await cp(worker.folder, folder, { recursive: true, filter: (path) => !path.endsWith('lock') })
      kills.push({ step, folder })
    })
    return taken
  }
  const worker = await aWorker({
    beforeStep: async (step) => {
      if (isRecording) await kill(step)
      also(step)
    },
  })
  const prepared = await prepare(worker)
  isRecording = true
  await work(worker, prepared)
  isRecording = false
  await kill('end')
  await worker.close()
  return { prepared, kills }
}
