import type { Flavor } from './flavor.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryption, type MemEncryptionModel } from './mem-encryption.ts'
import type { TraitRequest } from './requested-traits.ts'
import { DISK_GB, MEM_ENCRYPTION_CONTEXT, MEMORY_MB, VCPU } from './resources.ts'

/** What one instance takes: amounts on the host itself and, when encrypted, one slot of the pool with the trait. */
export interface ResourceRequest {
  readonly root: Readonly<Record<string, number>>
  /** Its memory cannot be swapped out, and must not be overcommitted. */
  readonly pinsMemory: boolean
  readonly pool?: { readonly trait: string; readonly resources: Readonly<Record<string, number>> }
  /** Of the host itself or of that pool; absent: any will do. */
  readonly traits?: TraitRequest
}

/**
 * Memory in MiB that an encrypted guest pins beside its own: 10.6 for firmware, its variables, ROMs and ACPI tables, by
 * the instrumentation of QEMU in the first version of the spec (nova-specs, Stein, "amd-sev-libvirt-support"), which
 * rounds it up to 16; and 16 for the video memory, which that leaves to others to count.
 */
export const DEFAULT_MEM_ENCRYPTION_OVERHEAD_MB = 32

export interface ResourceRequestOptions {
  /** The guest locks its memory, encrypted or not. */
  readonly locked?: boolean | undefined
  /** MiB that an encrypted guest pins beside its own memory. */
  readonly overheadMb?: number | undefined
  readonly traits?: TraitRequest | undefined
}

/**
 * All encrypted guests pin their memory: SEV and SEV-ES by locking it, SNP because the kernel neither moves nor swaps a
 * page that belongs to a guest.
 */
export function resourceRequest(
  flavor: Flavor,
  encryption: MemEncryption | null,
  { locked = false, overheadMb = DEFAULT_MEM_ENCRYPTION_OVERHEAD_MB, traits }: ResourceRequestOptions = {},
): ResourceRequest {
  const diskGb = flavor.root_gb + flavor.ephemeral_gb + Math.ceil(flavor.swap / 1024)
  const root = {
    [VCPU]: flavor.vcpus,
    [MEMORY_MB]: flavor.memory_mb + (encryption === null ? 0 : overheadMb),
    // Placement refuses amounts of zero: a flavor without disks asks for none.
    ...(diskGb > 0 && { [DISK_GB]: diskGb }),
  }
  const ofTraits = traits === undefined ? {} : { traits }
  if (encryption === null) return { root, pinsMemory: locked, ...ofTraits }
  const { trait } = MEM_ENCRYPTION_MODELS[encryption.model]
  return { root, pinsMemory: true, pool: { trait, resources: { [MEM_ENCRYPTION_CONTEXT]: 1 } }, ...ofTraits }
}

/**
 * The flavor of this launch: the abstract request translated into the resource and the trait that placement counts.
 * A new value: the flavor as stored is never changed (the spec: "would only affect this launch context").
 */
export function launchFlavor(flavor: Flavor, encryption: MemEncryption | null): Flavor {
  if (encryption === null) return flavor
  // A spread that adds keys costs V8 ten times as much.
  return { ...flavor, extra_specs: Object.assign({}, flavor.extra_specs, TRANSLATED[encryption.model]) }
}

/**
 * The flavor of a request that is still without a host. Of several models any will do: then it asks for one slot, whose
 * model the choice of a host decides.
 */
export function requestFlavor(flavor: Flavor, encryptions: readonly MemEncryption[]): Flavor {
  const [best = null, ...others] = encryptions
  if (others.length === 0) return launchFlavor(flavor, best)
  return { ...flavor, extra_specs: Object.assign({}, flavor.extra_specs, ONE_SLOT) }
}

const ONE_SLOT = { [`resources:${MEM_ENCRYPTION_CONTEXT}`]: '1' } as const

const TRANSLATED: Readonly<Record<MemEncryptionModel, Readonly<Record<string, string>>>> = {
  'amd-sev': translated('amd-sev'),
  'amd-sev-es': translated('amd-sev-es'),
  'amd-sev-snp': translated('amd-sev-snp'),
}

function translated(model: MemEncryptionModel) {
  return {
    ...ONE_SLOT,
    [`trait:${MEM_ENCRYPTION_MODELS[model].trait}`]: 'required',
  }
}
