import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { GuestLaunch } from '../../src/compute/virt-driver.ts'

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

/** How an encrypted guest was launched, by the word of QEMU. */
export async function launchOf(virsh: Virsh, uuid: string): Promise<GuestLaunch> {
  const policy = /^sev-policy *: (\d+)$/m.exec(await virsh('domlaunchsecinfo', uuid))?.[1]
  return { isEncrypted: true, policy: Number(policy) }
}
