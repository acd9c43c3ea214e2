import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { replaceFile } from './atomic-file.ts'
import { HostCapabilities } from './libvirt/host-capabilities.ts'
import type { HostResources } from './virt-driver.ts'

const Kept = z.object({
  capabilities: HostCapabilities,
  resources: z.object({ vcpus: z.int(), memory_mb: z.int(), disk_gb: z.int() }),
})
/** What the hypervisor has said of its host. */
export interface KnownHost {
  readonly capabilities: HostCapabilities
  readonly resources: HostResources
}

/**
 * What was known of the host last, in the state folder: a worker that starts while its hypervisor is silent has it to
 * report. Else its host would look dead, and its guests, which run, would be started a second time elsewhere.
 */
export class LastLook {
  readonly #path: string
  #kept: string | undefined

  constructor(folder: string) {
    this.#path = join(folder, 'host.json')
  }

  /** Undefined also when it cannot be understood: then the hypervisor is waited for. */
  async recall(): Promise<KnownHost | undefined> {
    try {
      return Kept.parse(JSON.parse(await readFile(this.#path, 'utf8')))
    } catch {
      return undefined
    }
  }

  async keep({ capabilities, resources }: KnownHost): Promise<void> {
    const content = `${JSON.stringify({ capabilities, resources })}\n`
    if (content === this.#kept) return
    await replaceFile(this.#path, content)
    this.#kept = content
  }
}
