import { z } from 'zod'

/** Consoles that a guest may have beside its log, by Nova's names of the protocols. */
export const CONSOLE_PROTOCOLS = ['vnc', 'spice', 'serial'] as const
export type ConsoleProtocol = (typeof CONSOLE_PROTOCOLS)[number]

/** Where a proxy reaches a console of a guest that runs. */
export const ConsoleAddress = z.object({
  host: z.string().max(255),
  port: z.int().min(1).max(65_535).nullable(),
  /** SPICE over TLS. */
  tls_port: z.int().min(1).max(65_535).nullable(),
  /** Nova's field; what runs here has none. */
  internal_access_path: z.string().nullable(),
})
export type ConsoleAddress = z.infer<typeof ConsoleAddress>

/** Nova's MAX_CONSOLE_BYTES: what is told of a log at most. */
export const MAX_CONSOLE_BYTES = 100 * 1024
