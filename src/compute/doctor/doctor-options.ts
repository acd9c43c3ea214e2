import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../../objects/mem-encryption.ts'
import type { DomainOptions } from '../libvirt/domain-options.ts'
import type { HostOptions } from '../libvirt/driver/host-facts.ts'
import type { SlotLimits } from '../libvirt/slot-limits.ts'
import type { ResourceOptions } from '../resource-tracker.ts'

/** What the operator wants of the host, by the configuration and the command line. */
export interface DoctorOptions {
  /** Of libvirt. */
  readonly uri: string
  readonly hostOptions: HostOptions
  readonly network: DomainOptions['network']
  readonly configDriveFormat: DomainOptions['configDriveFormat']
  /** Where guests' disks are. */
  readonly instancesPath: DomainOptions['instancesPath']
  readonly limits: SlotLimits
  readonly resources: Pick<ResourceOptions, 'reserved_host_memory_mb' | 'ram_allocation_ratio'>
  /** MiB that an encrypted guest pins beside its own. */
  readonly overheadMb: number
  /** What the catalogue asks for, once for each flavor and model. */
  readonly guests: readonly CatalogueGuest[]
  /** The host must offer these. */
  readonly required: readonly MemEncryptionModel[]
}

/** An encrypted guest that the catalogue would make. */
export interface CatalogueGuest {
  readonly flavor: string
  readonly memoryMb: number
  readonly model: MemEncryptionModel
}

/** How much a model is missed where it is not there. */
export type Demand = 'required' | 'asked for' | 'excluded' | 'optional'

/** What is wanted of a host that offers these models: it cannot have what they exclude, unless it must. */
export interface Wanted extends DoctorOptions {
  readonly offered: readonly MemEncryptionModel[]
}

export function demandOf(model: MemEncryptionModel, { required, guests, offered }: Wanted): Demand {
  if (required.includes(model)) return 'required'
  const { excludes } = MEM_ENCRYPTION_MODELS[model]
  if (excludes !== undefined && offered.includes(excludes)) return 'excluded'
  return guests.some((guest) => guest.model === model) ? 'asked for' : 'optional'
}

/** Of those that run with the model; undefined: the catalogue has none. */
export function largestGuest(model: MemEncryptionModel, { guests }: DoctorOptions): CatalogueGuest | undefined {
  const ofModel = guests.filter((guest) => guest.model === model)
  return ofModel.reduce<CatalogueGuest | undefined>(
    (largest, guest) => (largest === undefined || guest.memoryMb > largest.memoryMb ? guest : largest),
    undefined,
  )
}
