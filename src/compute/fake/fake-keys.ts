import { EncryptionSlotsExhausted } from '../../errors.ts'
import type { EncryptionKeys } from '../../objects/guest-report.ts'
import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { encryptionKeys } from '../libvirt/encryption-keys.ts'
import { keysFor } from './capabilities-document.ts'
import type { FakeHostFacts } from './fake-host-options.ts'

/** Whose guests they are, one for each: undefined of a guest in clear. */
export type KeyHolders = readonly (MemEncryptionModel | undefined)[]

/** As the kernel counts them, by way of its text as on a real host. A machine without keys has no count of them. */
export function countedKeys(facts: FakeHostFacts, holders: KeyHolders): EncryptionKeys | undefined {
  const sides = [
    ['sev', 'amd-sev'],
    ['sev_es', 'amd-sev-es'],
  ] as const
  const offered = sides.filter(([, model]) => keysFor(model, facts) > 0)
  if (offered.length === 0) return undefined
  const text = (value: (model: MemEncryptionModel) => number) =>
    offered.map(([name, model]) => `${name} ${value(model)}\n`).join('')
  return encryptionKeys(
    text((model) => keysFor(model, facts)),
    [text((model) => keysInUse(model, facts, holders))],
  )
}

/**
 * The memory controller's own count: SEV guests on one side, SEV-ES and SEV-SNP guests on the other.
 *
 * @throws EncryptionSlotsExhausted
 */
export function refuseWithoutKey(
  model: MemEncryptionModel | undefined,
  facts: FakeHostFacts,
  holders: KeyHolders,
): void {
  if (model === undefined) return
  const total = keysFor(model, facts)
  const used = keysInUse(model, facts, holders)
  if (used < total) return
  throw new EncryptionSlotsExhausted(
    `sev_kvm_init: failed to initialize ret=-16 fw_error=0: all ${total} keys for ${model} guests are in use`,
    { model, total, used },
  )
}

/** Those of guests that run or start, and what a fault keeps. */
function keysInUse(model: MemEncryptionModel, { stray_keys: stray }: FakeHostFacts, holders: KeyHolders): number {
  return (
    holders.filter((other) => sharesKeys(other, model)).length + (stray[model === 'amd-sev' ? 'sev' : 'sev_es'] ?? 0)
  )
}

function sharesKeys(one: MemEncryptionModel | undefined, other: MemEncryptionModel): boolean {
  return one !== undefined && (one === 'amd-sev') === (other === 'amd-sev')
}
