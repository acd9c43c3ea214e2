import type { DomainOptions } from '../../compute/libvirt/domain-options.ts'
import { type GuestSpec, guestSpec } from '../../compute/libvirt/guest-spec.ts'
import type { Flavor } from '../../objects/flavor.ts'
import type { ImageMeta } from '../../objects/image-meta.ts'
import type { MemEncryption } from '../../objects/mem-encryption.ts'
import { NO_HINTS } from '../../objects/scheduler-hints.ts'

/** Of a guest that nobody has booted: the same each time, so that two documents can be compared. */
export const NO_UUID = '00000000-0000-4000-8000-000000000000'

export interface Draft {
  readonly flavor: Flavor
  readonly image: ImageMeta
  readonly encryption: MemEncryption | null
  readonly name?: string
  readonly uuid?: string
  readonly macs?: readonly string[]
  readonly options: DomainOptions
}

/** The guest that an instance of this flavor and image would become. */
export function draftGuest({ flavor, image, encryption, options, ...draft }: Draft): GuestSpec {
  const at = new Date(0).toISOString()
  const instance = {
    uuid: draft.uuid ?? NO_UUID,
    name: draft.name ?? 'draft',
    project_id: null,
    user_id: null,
    vm_state: 'building',
    task_state: 'spawning',
    host: null,
    attempt: 1,
    flavor,
    image,
    mem_encryption: encryption,
    availability_zone: null,
    scheduler_hints: NO_HINTS,
    config_drive: false,
    ip_addresses: (draft.macs ?? []).map((mac) => ({ address: '', version: 4 as const, mac, label: '' })),
    fault: null,
    created_at: at,
    updated_at: at,
    launched_at: null,
    terminated_at: null,
  } as const
  return guestSpec({ ...instance, ip_addresses: [...instance.ip_addresses], volumes: [], interfaces: [] }, options)
}
