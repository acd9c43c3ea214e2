import { z } from 'zod'
import { IpAddress, Mac } from './ip-address.ts'
import { text } from './text.ts'

/** Buses that a volume may be on. IDE is none of them: q35 has none, and QEMU plugs nothing in on it. */
export const VolumeBus = z.enum(['virtio', 'scsi', 'sata', 'usb'])
export type VolumeBus = z.infer<typeof VolumeBus>

/** From the root of the host, and straight: whoever compares it with an allow-list need not resolve it. */
export const VolumePath = text(1024).regex(
  /^(?:\/(?!\.{1,2}(?:\/|$))[^/]+)+$/,
  'write a path from the root, without . and .. and without a / at its end: /srv/volumes/data.raw',
)

/**
 * A volume of an instance: a file or a block device of its host. It is bare (raw) always: a guest may write whatever header
 * it likes into its volume, and QEMU would follow one that names other files.
 */
export const Volume = z.object({
  /** As the API tier calls it; the guest sees it as the disk's serial number. */
  volume_id: z.guid(),
  path: VolumePath,
  bus: VolumeBus,
})
export type Volume = z.infer<typeof Volume>

/** One that is attached. */
export const AttachedVolume = Volume.extend({
  /** What its host called it when it was attached: `sdb`. A start may have to call it otherwise. */
  device: text(16),
})
export type AttachedVolume = z.infer<typeof AttachedVolume>

/** Linux allows 15 characters of an interface's name. */
export const BridgeName = z.string().regex(/^[\w.-]{1,15}$/, 'write the name of a bridge, e.g. br0')
export const LibvirtNetworkName = z
  .string()
  .regex(/^[\w.-]+$/, 'write the name of a libvirt network')
  .max(255)

/** Where an interface is plugged in. */
const InterfaceNetwork = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('network'), network: LibvirtNetworkName }),
  z.object({ kind: z.literal('bridge'), bridge: BridgeName }),
])

/** An interface that was attached to an instance; its MAC address is what it is known by. */
export const AttachedInterface = z.object({
  mac: Mac,
  /** Null: where the host plugs all guests in. */
  source: InterfaceNetwork.nullable(),
  /** Told in notifications with the others of the instance, if the request had one. */
  ip_address: IpAddress.nullable(),
})
export type AttachedInterface = z.infer<typeof AttachedInterface>
