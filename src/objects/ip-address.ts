import { z } from 'zod'
import { text } from './text.ts'

export const IpAddress = z.object({
  address: text(64),
  version: z.union([z.literal(4), z.literal(6)]),
  mac: text(64),
  label: text(255).default(''),
})
export type IpAddress = z.infer<typeof IpAddress>

/** An odd first octet would be a group's (IEEE 802), which no card has for its own; nor has any nothing but zeros. */
export const Mac = z
  .string()
  .regex(
    /^(?!00(?::00){5}$)[0-9a-f][02468ace](?::[0-9a-f]{2}){5}$/i,
    'write a MAC address as fa:16:3e:00:00:05, its first octet even, and not all zeros',
  )

/** As a request brings it. */
export const NewIpAddress = IpAddress.extend({ mac: Mac })
