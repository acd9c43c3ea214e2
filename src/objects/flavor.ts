import { z } from 'zod'
import { text } from './text.ts'

/** Names of any scope, values as written by their owner; as long as Nova stores them. */
const ExtraSpecs = z
  .record(text(255).min(1), text(255))
  .refine((specs) => Object.keys(specs).length <= 128, 'at most 128 extra specs')

const fields = {
  flavorid: text(255).min(1),
  name: text(255).min(1),
  vcpus: z.int().min(1).max(4096),
  memory_mb: z
    .int()
    .min(1)
    .max(1 << 26),
  root_gb: z
    .int()
    .min(0)
    .max(1 << 20),
  ephemeral_gb: z
    .int()
    .min(0)
    .max(1 << 20)
    .default(0),
  swap: z
    .int()
    .min(0)
    .max(1 << 26)
    .default(0),
  rxtx_factor: z.number().min(0).max(1e6).default(1),
  vcpu_weight: z
    .int()
    .min(0)
    .max(1 << 20)
    .default(0),
  disabled: z.boolean().default(false),
  is_public: z.boolean().default(true),
  description: text(65_535).nullable().default(null),
  projects: z.array(text(255)).max(1000).nullable().default(null),
  extra_specs: ExtraSpecs.default({}),
}

/**
 * What size of guest to build. Field names are Nova's; `memory_mb` counts MiB and `root_gb` GiB, the field's
 * historical names, kept so that one grep finds them in code, notification and billing query.
 */
export const Flavor = z.object(fields).readonly()
export type Flavor = z.infer<typeof Flavor>

/** As somebody writes it: an unknown field is a mistake. What workers pass on may have fields of a newer release. */
export const NewFlavor = z.strictObject(fields).readonly()

/** How messages name a flavor. */
export function flavorLabel(flavor: Flavor): string {
  return `flavor ${flavor.name}`
}
