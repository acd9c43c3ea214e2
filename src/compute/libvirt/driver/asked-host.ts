import type { EncryptionKeys } from '../../../objects/guest-report.ts'
import type { GuestDisks } from '../../disks/guest-disks.ts'
import type { HostResources } from '../../virt-driver.ts'
import { readEncryptionKeys } from '../encryption-keys.ts'
import { decideHostCapabilities, type HostCapabilities } from '../host-capabilities.ts'
import type { Libvirt } from '../rpc/libvirt.ts'
import { type HostOptions, readHostFacts } from './host-facts.ts'
import { nodeResources } from './node-resources.ts'

/** The host as libvirt, its kernel and its file system tell of it. */
export class AskedHost {
  readonly #libvirt: Libvirt
  readonly #disks: Pick<GuestDisks, 'offeredGb'>
  readonly #options: HostOptions
  #known: { readonly capabilities: HostCapabilities; readonly askedMs: number } | undefined

  constructor(libvirt: Libvirt, disks: Pick<GuestDisks, 'offeredGb'>, options: HostOptions) {
    this.#libvirt = libvirt
    this.#disks = disks
    this.#options = options
  }

  /** @param maxAgeMs what was found so long ago will do, in milliseconds; 0: it is asked */
  async capabilities(signal: AbortSignal, maxAgeMs: number): Promise<HostCapabilities> {
    const askedMs = performance.now()
    if (this.#known !== undefined && askedMs - this.#known.askedMs < maxAgeMs) return this.#known.capabilities
    const capabilities = decideHostCapabilities(await readHostFacts(this.#libvirt, this.#options, signal))
    this.#known = { capabilities, askedMs }
    return capabilities
  }

  async resources(signal: AbortSignal): Promise<HostResources> {
    const [node, disk_gb] = await Promise.all([nodeResources(this.#libvirt, signal), this.#disks.offeredGb()])
    return { ...node, disk_gb }
  }

  /** Undefined: the kernel does not count them. */
  async encryptionKeys(signal: AbortSignal): Promise<EncryptionKeys | undefined> {
    signal.throwIfAborted()
    return await readEncryptionKeys(this.#options.root)
  }
}
