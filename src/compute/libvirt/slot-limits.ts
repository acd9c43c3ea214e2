import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { MEM_ENCRYPTION_MODELS } from '../../objects/mem-encryption.ts'
import { UNKNOWN_SLOTS } from './domain-capabilities.ts'
import type { HostCapabilities } from './host-capabilities.ts'

/** What an operator says of the number of guests of each model; undefined leaves it to the host. */
export type SlotLimits = Readonly<Record<MemEncryptionModel, number | undefined>>

export const NO_LIMITS: SlotLimits = { 'amd-sev': undefined, 'amd-sev-es': undefined, 'amd-sev-snp': undefined }

/** The option of each model: Nova's for SEV, which has none for the others. */
const LIMIT_OPTIONS: Readonly<Record<MemEncryptionModel, string>> = {
  'amd-sev': 'compute.num_memory_encrypted_guests',
  'amd-sev-es': 'compute.num_sev_es_encrypted_guests',
  'amd-sev-snp': 'compute.num_sev_snp_encrypted_guests',
}

export interface LimitedCapabilities {
  readonly capabilities: HostCapabilities
  /** What the operator should know about the options, a sentence each. */
  readonly warnings: readonly string[]
}

/**
 * The slots that are offered, by what was detected and what is configured. The spec ("Proposed change", the option): unset
 * means detected, or no limit where nothing can be detected; when both say the same the option is no longer needed, and
 * when they differ the hardware's number counts, unless the operator wants fewer. 0 switches a model off.
 */
export function limitSlots(detected: HostCapabilities, limits: SlotLimits): LimitedCapabilities {
  const slots: Partial<Record<MemEncryptionModel, number>> = { ...detected.slots }
  const missing: Partial<Record<MemEncryptionModel, string>> = { ...detected.missing }
  const warnings: string[] = []
  for (const model of Object.keys(MEM_ENCRYPTION_MODELS) as MemEncryptionModel[]) {
    const limit = limits[model]
    if (limit === undefined) continue
    const { total, warning } = limited(model, detected, limit)
    if (warning !== undefined) warnings.push(warning)
    if (total === 0 && slots[model] !== undefined) {
      delete slots[model]
      missing[model] = `${LIMIT_OPTIONS[model]} is 0: raise or remove it to offer ${MEM_ENCRYPTION_MODELS[model].label}`
    } else if (slots[model] !== undefined) slots[model] = total
  }
  return { capabilities: { ...detected, slots, missing }, warnings }
}

function limited(
  model: MemEncryptionModel,
  { slots, missing }: HostCapabilities,
  limit: number,
): { readonly total: number; readonly warning?: string } {
  const option = LIMIT_OPTIONS[model]
  const found = slots[model]
  const { label } = MEM_ENCRYPTION_MODELS[model]
  if (found === undefined) {
    if (limit === 0) return { total: 0 }
    return { total: 0, warning: `${option} is ${limit}, but this host offers no ${label}: ${missing[model]}` }
  }
  if (found === UNKNOWN_SLOTS || limit < found) return { total: limit }
  const warning =
    limit === found
      ? `${option} is ${limit}, which the host tells by itself: it is no longer needed`
      : `${option} is ${limit}, but the host has ${found} ${label} slots, which count: lower or remove it`
  return { total: found, warning }
}
