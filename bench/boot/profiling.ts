import { fileURLToPath } from 'node:url'
import type { SevbusProcess } from '../../test/support/sevbus-process.ts'

const PROFILE_WORKER = fileURLToPath(new URL('./profile-worker.js', import.meta.url))

/** For the environment of a worker that is to write CPU profiles into the folder; undefined: it is not. */
export function profilingIn(folder: string | undefined): Record<string, string> {
  return folder === undefined ? {} : { NODE_OPTIONS: `--import=${PROFILE_WORKER}`, BENCH_PROFILE_FOLDER: folder }
}

/** Begins a profile of each, and ends it. */
export function tellProfilers(workers: readonly SevbusProcess[]): void {
  for (const worker of workers) worker.kill('SIGUSR2')
}
