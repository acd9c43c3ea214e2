import { z } from 'zod'
import { text } from './text.ts'

/** A host's name or address, as it may stand in a URI; IPv6 without brackets. */
export const ConnectAddress = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9.-]*$|^[0-9A-Fa-f:]+$/, 'write the name of a host, or an address')
  .max(255)

/**
 * What the destination of a live migration tells the source: where it has made the guest's folder, and how it is reached.
 * Fields have the names of Nova's LibvirtLiveMigrateData where that has them.
 */
export const LiveMigrateData = z.object({
  /** The whole path of the guest's folder there, or what stands for it on a simulated host. */
  folder: text(1024).min(1),
  /** The digest of the document that the destination would start the guest with. */
  definition: text(128).min(1),
  /** Where its hypervisor is reached; null: by the host's name. */
  target_connect_addr: ConnectAddress.nullable(),
  /** Where displays of guests listen there; null: its guests have none. */
  graphics_listen_addr: ConnectAddress.nullable(),
  /** Where serial consoles of guests listen there, and the port of this one; absent: its guests have none by TCP. */
  serial_listen_addr: ConnectAddress.optional(),
  serial_listen_ports: z.array(z.int().min(1).max(65_535)).max(1).optional(),
})
export type LiveMigrateData = z.infer<typeof LiveMigrateData>
