import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../../objects/mem-encryption.ts'
import type { HostCapabilities } from './host-capabilities.ts'

/** A guest of this host that runs encrypted. */
export interface EncryptedGuest {
  readonly uuid: string
  readonly model: MemEncryptionModel
}

/** So many guests are named; more would not fit into a report. */
const NAMED = 5

/**
 * A host that has lost a model its guests need must take no more encrypted guests until somebody has looked: its keys,
 * its firmware or its kernel are not what they were. Nova's service does not even start then; ours goes on with the
 * guests that do not need it.
 *
 * @returns the capabilities without any slots, where a guest needs what is missing, and the guests
 */
export function withoutLostModels(
  capabilities: HostCapabilities,
  guests: readonly EncryptedGuest[],
): { readonly capabilities: HostCapabilities; readonly stranded: readonly EncryptedGuest[] } {
  const stranded = guests.filter(({ model }) => capabilities.slots[model] === undefined)
  if (stranded.length === 0) return { capabilities, stranded }
  const reason = reasonFor(capabilities, stranded)
  const missing = Object.fromEntries(
    Object.keys(MEM_ENCRYPTION_MODELS).map((model) => [
      model,
      capabilities.missing[model as MemEncryptionModel] ?? reason,
    ]),
  )
  return { capabilities: { ...capabilities, slots: {}, missing }, stranded }
}

function reasonFor({ missing }: HostCapabilities, stranded: readonly EncryptedGuest[]): string {
  const models = [...new Set(stranded.map(({ model }) => model))]
  const lost = models.map(
    (model) => `${MEM_ENCRYPTION_MODELS[model].label} (${missing[model] ?? 'it reports no slots'})`,
  )
  const named = stranded.slice(0, NAMED).map(({ uuid }) => uuid)
  const more = stranded.length > NAMED ? ` and ${stranded.length - NAMED} more` : ''
  const text = `instances ${named.join(', ')}${more} need ${lost.join(' and ')}, which this host has lost: bring it back, or move or delete them`
  // As long as a report may tell.
  return text.slice(0, 500)
}
