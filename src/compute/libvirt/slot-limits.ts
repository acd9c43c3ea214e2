import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { UNKNOWN_SLOTS } from './domain-capabilities.ts'
import type { HostCapabilities } from './host-capabilities.ts'
import { LIMIT_OPTIONS } from './limit-options.ts'

/** What an operator says of the number of guests of each model; undefined leaves it to the host. */
export type SlotLimits = Readonly<Record<MemEncryptionModel, number | undefined>>

export const NO_LIMITS: SlotLimits = { 'amd-sev': undefined, 'amd-sev-es': undefined, 'amd-sev-snp': undefined }

export interface LimitedCapabilities {
  readonly capabilities: HostCapabilities
  /** What the operator should know about the options, a sentence each. */
  readonly warnings: readonly string[]
}

/**
 * The slots that are offered, by what was detected and what is configured. The spec ("Proposed change", the option): unset
 * means detected, or no limit where nothing can be detected; when both say the same the option is no longer needed, and
 * when they differ the hardware's number counts, unless the operator wants fewer. 0 switches a model off. A model that
 * nobody can count (SEV-ES of an old libvirt) is offered only by the operator's number.
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
    if (foundSlots(model, detected) === undefined) continue
    if (total === 0) {
      delete slots[model]
      missing[model] = `${LIMIT_OPTIONS[model]} is 0: raise or remove it to offer ${MEM_ENCRYPTION_MODELS[model].label}`
    } else {
      slots[model] = total
      delete missing[model]
    }
  }
  return { capabilities: { ...detected, slots, missing }, warnings }
}

/** Undefined: the host has none, whatever the operator says. */
function foundSlots(model: MemEncryptionModel, { slots, uncounted }: HostCapabilities): number | undefined {
  return slots[model] ?? (uncounted?.includes(model) ? UNKNOWN_SLOTS : undefined)
}

function limited(
  model: MemEncryptionModel,
  detected: HostCapabilities,
  limit: number,
): { readonly total: number; readonly warning?: string } {
  const option = LIMIT_OPTIONS[model]
  const found = foundSlots(model, detected)
  const { label } = MEM_ENCRYPTION_MODELS[model]
  if (found === undefined) {
    if (limit === 0) return { total: 0 }
    return { total: 0, warning: `${option} is ${limit}, but this host offers no ${label}: ${detected.missing[model]}` }
  }
  if (found === UNKNOWN_SLOTS || limit < found) return { total: limit }
  const warning =
    limit === found
      ? `${option} is ${limit}, which the host tells by itself: it is no longer needed`
      : `${option} is ${limit}, but the host has ${found} ${label} slots, which count: lower or remove it`
  return { total: found, warning }
}
