import type { AttachedInterface, AttachedVolume } from '../../objects/attached-devices.ts'
import type { Flavor } from '../../objects/flavor.ts'
import type { ImageMeta } from '../../objects/image-meta.ts'
import type { Instance } from '../../objects/instance.ts'
import { launchRequest, refuseDisagreement } from '../../objects/launch-request.ts'
import type { MemEncryption } from '../../objects/mem-encryption.ts'
import type { MemoryBacking } from '../../objects/memory-backing.ts'
import { DEFAULT_DOMAIN_OPTIONS, type DomainOptions } from './domain-options.ts'

/** What configurators know about the guest to be: the instance, without its history, and where its files are. */
export interface GuestSpec {
  readonly uuid: string
  readonly name: string
  readonly projectId: string | undefined
  readonly userId: string | undefined
  readonly flavor: Flavor
  readonly image: ImageMeta
  /** Undefined: runs in clear. */
  readonly encryption: MemEncryption | undefined
  readonly memoryBacking: MemoryBacking
  /** Of the interfaces that it was booted with. */
  readonly macs: readonly string[]
  /** Attached since. */
  readonly volumes: readonly AttachedVolume[]
  readonly interfaces: readonly AttachedInterface[]
  /** The request wants one. */
  readonly configDrive: boolean
  /** It boots from another disk than its own. */
  readonly isRescued: boolean
  /** Folder of the guest's disks and console log. */
  readonly folder: string
  readonly options: DomainOptions
}

/** @throws InvalidProperty when the instance does not say what its flavor and image ask for: never started then */
export function guestSpec(instance: Instance, options: DomainOptions = DEFAULT_DOMAIN_OPTIONS): GuestSpec {
  const asked = launchRequest(instance.flavor, instance.image)
  const { memoryBacking } = refuseDisagreement(asked, instance.mem_encryption)
  const attached = instance.interfaces.map(({ mac }) => mac)
  const macs = new Set(instance.ip_addresses.map(({ mac }) => mac.toLowerCase()))
  return {
    uuid: instance.uuid,
    name: instance.name,
    projectId: instance.project_id ?? undefined,
    userId: instance.user_id ?? undefined,
    flavor: instance.flavor,
    image: instance.image,
    encryption: instance.mem_encryption ?? undefined,
    memoryBacking,
    macs: [...macs].filter((mac) => !attached.includes(mac)),
    volumes: instance.volumes,
    interfaces: instance.interfaces,
    configDrive: instance.config_drive,
    isRescued: false,
    folder: `${options.instancesPath}/${instance.uuid}`,
    options,
  }
}
