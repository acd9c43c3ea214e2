import type { FindingKind } from '../../objects/audit.ts'
import type { InstanceState } from '../../objects/instance.ts'
import type { Migration } from '../../objects/request-spec.ts'

/** How a finding is mended: by the contract of whoever owns the thing. Doing it twice is nothing. */
export type Repair = (
  | { readonly action: 'release_allocations'; readonly consumer: string; readonly attempt: number }
  | { readonly action: 'confirm_move'; readonly consumer: string; readonly migration: Migration }
  | { readonly action: 'terminate_instance'; readonly host: string; readonly attempt: number }
  | { readonly action: 'remove_stray_disks'; readonly host: string }
) & { readonly does: string; readonly safeBecause: string }

export interface Finding {
  readonly kind: FindingKind
  readonly host: string
  readonly uuid: string | undefined
  /** As the conductor had it when the finding was made; undefined: it knows none, or the finding is about the host. */
  readonly instance: InstanceState | undefined
  /** What was seen of the claim or guest: another one means that it has changed. */
  readonly version: readonly unknown[]
  readonly problem: string
  readonly numbers: Readonly<Record<string, number>>
  readonly repair: Repair | undefined
  /** For a person, where no repair is safe. */
  readonly advice: string | undefined
}

/** What it is about, in whatever state. */
export function subject({ kind, host, uuid, problem }: Finding): string {
  return JSON.stringify([kind, host, uuid ?? problem])
}

/** The same for the same thing in the same state: two looks that give the same one have seen no change in between. */
export function identity(finding: Finding): string {
  const { instance, version, numbers } = finding
  return JSON.stringify([
    subject(finding),
    instance?.updated_at,
    instance?.attempt,
    version,
    Object.entries(numbers).toSorted(),
  ])
}

/** `1 MEM_ENCRYPTION_CONTEXT, 2080 MEMORY_MB, 1 VCPU` */
export function amounts(resources: Readonly<Record<string, number>>): string {
  const named = Object.entries(resources).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return named.length === 0 ? 'nothing' : named.map(([name, amount]) => `${amount} ${name}`).join(', ')
}

/** `is deleted`, `is in error and on no host`, `is active on h2, try 3` */
export function whereabouts({ vm_state, host, attempt }: InstanceState): string {
  if (vm_state === 'deleted') return 'is deleted'
  if (host === null) return `is in ${vm_state} and on no host`
  return `is ${vm_state} on ${host}, try ${attempt}`
}
