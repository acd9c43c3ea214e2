import type { Flavor } from './flavor.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryption } from './mem-encryption.ts'
import { DISK_GB, MEM_ENCRYPTION_CONTEXT, MEMORY_MB, VCPU } from './resources.ts'

/** What one instance takes: amounts on the host itself and, when encrypted, one slot of the pool with the trait. */
export interface ResourceRequest {
  readonly root: Readonly<Record<string, number>>
  readonly pool?: { readonly trait: string; readonly resources: Readonly<Record<string, number>> }
}

export function resourceRequest(flavor: Flavor, encryption: MemEncryption | null): ResourceRequest {
  const diskGb = flavor.root_gb + flavor.ephemeral_gb + Math.ceil(flavor.swap / 1024)
  const root = {
    [VCPU]: flavor.vcpus,
    [MEMORY_MB]: flavor.memory_mb,
    // Placement refuses amounts of zero: a flavor without disks asks for none.
    ...(diskGb > 0 && { [DISK_GB]: diskGb }),
  }
  if (encryption === null) return { root }
  const { trait } = MEM_ENCRYPTION_MODELS[encryption.model]
  return { root, pool: { trait, resources: { [MEM_ENCRYPTION_CONTEXT]: 1 } } }
}

/**
 * The flavor of this launch: the abstract request translated into the resource and the trait that placement counts.
 * A new value: the flavor as stored is never changed (the spec: "would only affect this launch context").
 */
export function launchFlavor(flavor: Flavor, encryption: MemEncryption | null): Flavor {
  if (encryption === null) return flavor
  return {
    ...flavor,
    extra_specs: {
      ...flavor.extra_specs,
      [`resources:${MEM_ENCRYPTION_CONTEXT}`]: '1',
      [`trait:${MEM_ENCRYPTION_MODELS[encryption.model].trait}`]: 'required',
    },
  }
}
