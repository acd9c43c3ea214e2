import { InvalidProperty } from '../../errors.ts'
import type { Flavor } from '../../objects/flavor.ts'
import type { ImageMeta } from '../../objects/image-meta.ts'
import type { Instance } from '../../objects/instance.ts'
import { type LaunchRequest, launchRequest } from '../../objects/launch-request.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryption, policyHex } from '../../objects/mem-encryption.ts'
import type { MemoryBacking } from '../../objects/memory-backing.ts'

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
  readonly macs: readonly string[]
  /** Folder of the guest's disks and console log. */
  readonly folder: string
  /** libvirt network its interfaces are in. */
  readonly network: string
}

export interface HostPlaces {
  /** Nova's `instances_path`: one folder per guest. */
  readonly instancesPath: string
  readonly network: string
}

export const DEFAULT_PLACES: HostPlaces = { instancesPath: '/var/lib/sevbus/instances', network: 'default' }

/** @throws InvalidProperty when the instance does not say what its flavor and image ask for: never started then */
export function guestSpec(instance: Instance, places: HostPlaces = DEFAULT_PLACES): GuestSpec {
  const request = launchRequest(instance.flavor, instance.image)
  return {
    uuid: instance.uuid,
    name: instance.name,
    projectId: instance.project_id ?? undefined,
    userId: instance.user_id ?? undefined,
    flavor: instance.flavor,
    image: instance.image,
    encryption: agreedEncryption(instance, request),
    memoryBacking: request.memoryBacking,
    macs: [...new Set(instance.ip_addresses.map(({ mac }) => mac.toLowerCase()))],
    folder: `${places.instancesPath}/${instance.uuid}`,
    network: places.network,
  }
}

/**
 * Asks flavor and image once more, on the host: a message that lost its `mem_encryption` on the way, or that carries
 * another policy than its model has, must not start a guest that is weaker than what was ordered.
 */
function agreedEncryption(
  { mem_encryption: decided }: Instance,
  { encryption: asked }: LaunchRequest,
): MemEncryption | undefined {
  const policy = decided === null ? undefined : policyHex(MEM_ENCRYPTION_MODELS[decided.model])
  if (asked?.model === decided?.model && policy === decided?.policy) return decided ?? undefined
  const found = decided === null ? 'nothing' : `${decided.model} with policy ${decided.policy}`
  const expected = asked === undefined ? 'nothing' : `${asked.model} with policy ${asked.policy}`
  throw new InvalidProperty(
    `the instance carries mem_encryption ${found}, but its flavor and image ask for ${expected}; it is not started`,
    { property: 'mem_encryption', value: found, expected, fix: 'create the instance anew' },
  )
}
