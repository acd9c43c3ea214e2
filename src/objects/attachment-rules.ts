import { DeviceNotFound, InvalidArguments } from '../errors.ts'
import type { AttachedVolume, Volume, VolumeBus } from './attached-devices.ts'
import { deviceChoice } from './device-choices.ts'
import type { Instance } from './instance.ts'
import type { ActionResult, InstanceAction } from './instance-action.ts'

/**
 * A SCSI controller has room for 15 disks, and libvirt adds the next one by itself, without iommu; with the instance's own
 * disks these are as many as fit.
 */
const MAX_VOLUMES = 10

/** Of a volume whose request leaves it open: where the root disk is, which the guest can read from. */
export function volumeBus({ image, mem_encryption }: Instance): VolumeBus {
  const ofRoot = deviceChoice(image, 'hw_disk_bus') ?? (mem_encryption === null ? 'virtio' : 'scsi')
  return ofRoot === 'ide' ? 'virtio' : ofRoot
}

/** Is what the action asks for so already? Then a caller that asks again, because an answer was lost, is told so. */
export function isAttached(instance: Instance, action: InstanceAction): boolean {
  switch (action.name) {
    case 'attach_volume': {
      const { volume_id, path, bus } = action.volume
      return instance.volumes.some((each) => each.volume_id === volume_id && each.path === path && each.bus === bus)
    }
    case 'attach_interface': {
      const asked = action.interface
      const isSame = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other)
      return instance.interfaces.some(({ mac, source }) => mac === asked.mac && isSame(source, asked.source))
    }
    default:
      return false
  }
}

/**
 * What could not be on any host: two devices of one name, or none.
 *
 * @throws InvalidArguments, DeviceNotFound
 */
export function refuseAttachment(instance: Instance, action: InstanceAction): void {
  switch (action.name) {
    case 'attach_volume':
      refuseVolume(instance, action.volume)
      return
    case 'detach_volume':
      volumeOf(instance, action.volume_id)
      return
    case 'attach_interface':
      refuseMac(instance, action.interface.mac)
      return
    case 'detach_interface':
      if (macsOf(instance).includes(action.mac)) return
      throw notAttached(instance, 'interface', action.mac)
    default:
      return
  }
}

/** @throws DeviceNotFound */
export function volumeOf(instance: Instance, volumeId: string): AttachedVolume {
  const volume = instance.volumes.find(({ volume_id }) => volume_id === volumeId)
  if (volume === undefined) throw notAttached(instance, 'volume', volumeId)
  return volume
}

function refuseVolume({ uuid, volumes }: Instance, { volume_id, path }: Volume): void {
  const taken = volumes.find((each) => each.volume_id === volume_id || each.path === path)
  if (taken !== undefined) {
    const field = taken.volume_id === volume_id ? 'volume_id' : 'path'
    throw refused(uuid, field, taken[field], `volume ${taken.volume_id} is attached already, from ${taken.path}`)
  }
  if (volumes.length < MAX_VOLUMES) return
  throw refused(uuid, 'volume_id', volume_id, `it has ${volumes.length} volumes, and at most ${MAX_VOLUMES} are taken`)
}

function refuseMac(instance: Instance, mac: string): void {
  if (macsOf(instance).includes(mac)) throw refused(instance.uuid, 'mac', mac, 'it has an interface of this address')
}

function macsOf({ ip_addresses, interfaces }: Instance): readonly string[] {
  return [...ip_addresses, ...interfaces].map(({ mac }) => mac.toLowerCase())
}

function refused(uuid: string, field: string, value: string, why: string): InvalidArguments {
  const fix = `see what it has with: sevbus show ${uuid}`
  return new InvalidArguments(`${field} is ${value}, but instance ${uuid} cannot take that: ${why}; ${fix}`, {
    instance_uuid: uuid,
    field,
    value,
    fix,
  })
}

export function notAttached(
  { uuid }: Pick<Instance, 'uuid'>,
  kind: 'volume' | 'interface',
  name: string,
): DeviceNotFound {
  const fix = `see what it has with: sevbus show ${uuid}`
  return new DeviceNotFound(`instance ${uuid} has no ${kind} ${name}; ${fix}`, {
    instance_uuid: uuid,
    [kind]: name,
    fix,
  })
}

/** What of an instance an action changes that is done, beside its state. */
export function devicesAfter(
  instance: Instance,
  action: InstanceAction,
  { device }: ActionResult,
): Partial<Pick<Instance, 'volumes' | 'interfaces' | 'ip_addresses'>> {
  const { volumes, interfaces, ip_addresses } = instance
  switch (action.name) {
    case 'attach_volume':
      return { volumes: [...volumes, { ...action.volume, device: device ?? '' }] }
    case 'detach_volume':
      return { volumes: volumes.filter(({ volume_id }) => volume_id !== action.volume_id) }
    case 'attach_interface': {
      const { ip_address } = action.interface
      return {
        interfaces: [...interfaces, action.interface],
        ip_addresses: [...ip_addresses, ...(ip_address === null ? [] : [ip_address])],
      }
    }
    case 'detach_interface': {
      const isOther = ({ mac }: { readonly mac: string }) => mac.toLowerCase() !== action.mac
      return { interfaces: interfaces.filter(isOther), ip_addresses: ip_addresses.filter(isOther) }
    }
    default:
      return {}
  }
}
