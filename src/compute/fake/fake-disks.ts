import { basename } from 'node:path'
import { DiskCreationFailed, GuestNotFound, InvalidSharedStorage } from '../../errors.ts'
import type { LeftDisks } from '../../objects/left-disks.ts'
import type { DiskContents } from '../disks/disk-contents.ts'
import type { StoredImage } from '../images/image-source.ts'
import { type DiskSpec, type DomainSpec, RESCUE_DISK } from '../libvirt/domain-spec.ts'
import type { DiskFolder } from '../virt-driver.ts'
import type { FakeImages } from './fake-images.ts'
import type { GuestStore } from './guest-store.ts'

/** The disks of simulated guests, which are names: nobody reads them, and whoever is told them has them. */
export class FakeDisks {
  readonly #store: GuestStore
  readonly #images: FakeImages
  /** Guests whose root disk is kept. */
  readonly #copies = new Set<string>()

  constructor(store: GuestStore, images: FakeImages) {
    this.#store = store
    this.#images = images
  }

  /** Of the contents only the places count, and that there is such an image. */
  async create({ uuid, disks }: DomainSpec, { image }: DiskContents, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const made = this.#store.disks.get(uuid) ?? []
    const isFromImage = ({ role, file }: DiskSpec) => (role === 'root' || role === 'rescue') && !made.includes(file)
    if (disks.some(isFromImage)) await this.#images.refuseMissing(image, signal)
    await this.#keep(
      uuid,
      disks.map(({ file }) => file),
    )
  }

  async remove(uuid: string): Promise<void> {
    if (this.#store.disks.delete(uuid)) await this.#store.save(uuid)
  }

  folders(): readonly DiskFolder[] {
    const suffix = asideOf('')
    return [...this.#store.disks.keys()].map((folder) => {
      const isAside = folder.endsWith(suffix)
      return { uuid: isAside ? folder.slice(0, -suffix.length) : folder, folder, aside: isAside }
    })
  }

  /** By another name in the store. */
  async setAside(uuid: string): Promise<LeftDisks> {
    const aside = asideOf(uuid)
    await this.#rename(uuid, aside)
    return left(aside, this.#store.disks.get(aside) ?? [])
  }

  async bringBack(uuid: string): Promise<void> {
    await this.#rename(asideOf(uuid), uuid)
  }

  async removeAside(uuid: string): Promise<void> {
    await this.remove(asideOf(uuid))
  }

  async #rename(from: string, to: string): Promise<void> {
    const files = this.#store.disks.get(from)
    if (files === undefined) return
    this.#store.disks.set(to, files)
    this.#store.disks.delete(from)
    await Promise.all([this.#store.save(to), this.#store.save(from)])
  }

  async take({ uuid, disks }: DomainSpec, { files }: LeftDisks, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const root = disks.find(({ role }) => role === 'root')
    if (root === undefined || files.some(({ name }) => name === basename(root.file))) return
    throw new InvalidSharedStorage(`the disks that were left have no ${basename(root.file)}`, { instance_uuid: uuid })
  }

  async own(uuid: string): Promise<LeftDisks> {
    const files = this.#store.disks.get(uuid)
    if (files === undefined) throw new GuestNotFound(`this host has no disks of ${uuid}`, { instance_uuid: uuid })
    return left(uuid, files)
  }

  /** Those of a guest that comes as it runs. */
  async share(uuid: string, diskFiles: readonly string[], theirs: LeftDisks): Promise<void> {
    const lacking = diskFiles.find((file) => !theirs.files.some(({ name }) => name === basename(file)))
    if (lacking !== undefined)
      throw new InvalidSharedStorage(`the disks of the other host have no ${basename(lacking)}`, {
        instance_uuid: uuid,
      })
    await this.#keep(uuid, diskFiles)
  }

  async removeRescueDisk(uuid: string): Promise<void> {
    const files = this.#store.disks.get(uuid)
    if (files === undefined) return
    await this.#keep(
      uuid,
      files.filter((file) => !file.endsWith(`/${RESCUE_DISK}`)),
    )
  }

  copyRoot(uuid: string): void {
    this.#copies.add(uuid)
  }

  async storeCopy(uuid: string, image: StoredImage): Promise<number> {
    if (!this.#copies.has(uuid)) throw new DiskCreationFailed(`nothing is kept of ${uuid}`, { instance_uuid: uuid })
    return await this.#images.add(image)
  }

  removeCopy(uuid: string): void {
    this.#copies.delete(uuid)
  }

  async #keep(uuid: string, files: readonly string[]): Promise<void> {
    this.#store.disks.set(uuid, files)
    await this.#store.save(uuid)
  }
}

/** Nova's name of the folder of a guest that is being resized. */
function asideOf(uuid: string): string {
  return `${uuid}_resize`
}

function left(folder: string, files: readonly string[]): LeftDisks {
  return { folder, files: files.map((file) => ({ name: basename(file), bytes: 0 })) }
}
