import type { GuestReport } from '../../../src/objects/guest-report.ts'
import type { InstanceState } from '../../../src/objects/instance.ts'
import type { MemEncryptionModel } from '../../../src/objects/mem-encryption.ts'
import { type Comparison, comparing } from '../../../src/scheduler/audit/compare.ts'
import type { HeldClaim, HostLook, InventoryLook, Observation } from '../../../src/scheduler/audit/observation.ts'

/** A uuid that ends in these digits. */
export function uuidOf(n: number): string {
  return `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
}

export const CHANGED_AT = '2026-03-01T10:00:00.000Z'

/** Active on h1 with SEV, of try 1. */
export function anInstanceState(n: number, changes: Partial<InstanceState> = {}): InstanceState {
  return {
    uuid: uuidOf(n),
    name: `web-${n}`,
    vm_state: 'active',
    task_state: null,
    host: 'h1',
    attempt: 1,
    model: 'amd-sev',
    updated_at: CHANGED_AT,
    leaving: null,
    messages_waiting: false,
    hosts_waiting: [],
    ...changes,
  }
}

export function aGuest(n: number, changes: Partial<GuestReport> = {}): GuestReport {
  return { uuid: uuidOf(n), state: 'running', model: 'amd-sev', attempt: 1, over: false, work: null, ...changes }
}

export function aClaim(n: number, changes: Partial<HeldClaim> = {}): HeldClaim {
  const resources = { VCPU: 1, MEMORY_MB: 2080, MEM_ENCRYPTION_CONTEXT: 1 }
  const uuid = uuidOf(n)
  const claim = { consumer: uuid, instance: uuid, migrationType: null, attempt: 1, host: 'h1' }
  return { ...claim, resources, changedAt: CHANGED_AT, ...changes }
}

export function aLook(guests: readonly GuestReport[], changes: object = {}): HostLook {
  return { answered: true, guests, busy: 0, keys: null, ...changes }
}

export function keys(sev: readonly [number, number], sevEs: readonly [number, number] = [0, 0]) {
  const count = ([current, capacity]: readonly [number, number]) => ({ current, capacity })
  return { sev: count(sev), sev_es: count(sevEs) }
}

export const SILENT: HostLook = { answered: false, reason: 'nobody consumes its queue' }

export function aPool(host: string, model: MemEncryptionModel, changes: Partial<InventoryLook> = {}): InventoryLook {
  return {
    host,
    provider: `${host}_${model}`,
    resource_class: 'MEM_ENCRYPTION_CONTEXT',
    model,
    capacity: 15,
    used: 0,
    pinned: 0,
    fits: true,
    offered: true,
    allocated: 0,
    allocated_pinned: 0,
    ...changes,
  }
}

interface Parts {
  readonly hosts?: Readonly<Record<string, HostLook>>
  readonly claims?: readonly HeldClaim[]
  /** `null`: no conductor answered. */
  readonly instances?: readonly InstanceState[] | null
  readonly inventories?: readonly InventoryLook[]
  /** All hosts, when left out. */
  readonly scope?: readonly string[]
}

export function anObservation({
  hosts = {},
  claims = [],
  instances = [],
  inventories = [],
  scope,
}: Parts): Observation {
  return {
    scope: new Set(scope ?? Object.keys(hosts)),
    hosts: new Map(Object.entries(hosts)),
    claims,
    instances: instances === null ? undefined : new Map(instances.map((instance) => [instance.uuid, instance])),
    inventories,
  }
}

/** All at once. */
export function compare(seen: Observation): Comparison {
  const comparison = comparing(seen)
  for (;;) {
    const { done, value } = comparison.next()
    if (done) return value
  }
}
