import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)
/** A hung daemon must not hang the tests: virsh has no limit of its own. */
const TIMEOUT_MS = 60_000

/** Runs virsh. @returns what it prints @throws with what it prints when it fails */
export type Virsh = (...args: readonly string[]) => Promise<string>

export function virshOn(uri: string): Virsh {
  return async (...args) => {
    const { stdout } = await run('virsh', ['-q', '-c', uri, ...args], {
      timeout: TIMEOUT_MS,
      env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8' },
    })
    return stdout
  }
}
