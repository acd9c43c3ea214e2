import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { UNKNOWN_SLOTS } from '../libvirt/domain-capabilities.ts'
import { type DoctorOptions, largestGuest } from './doctor-options.ts'
import { type Finding, fail, pass, skip, warn } from './finding.ts'

const SLOTS = { check: 'memory_for_slots', title: 'memory for slots' }

/** Slots of each model that the host offers. */
export type OfferedSlots = Readonly<Partial<Record<MemEncryptionModel, number>>>

/** Memory of guests, in MiB. */
export interface MemorySums {
  /** What placement may give away. */
  readonly offeredMb: number
  /** What all slots pin with the largest guest in each; undefined: cannot be counted. */
  readonly pinnedMb: number | undefined
  /** The same sum in words. */
  readonly inWords: string
}

export function memorySums(memoryMb: number, slots: OfferedSlots, options: DoctorOptions): MemorySums {
  const { reserved_host_memory_mb: reserved } = options.resources
  const offeredMb = Math.max(memoryMb - reserved, 0)
  const terms = Object.entries(slots).map(([model, count]) => termOf(model as MemEncryptionModel, count, options))
  const isCounted = terms.every(({ pinnedMb }) => pinnedMb !== undefined)
  return {
    offeredMb,
    pinnedMb: isCounted ? terms.reduce((sum, { pinnedMb = 0 }) => sum + pinnedMb, 0) : undefined,
    inWords: terms.map(({ words }) => words).join(' + '),
  }
}

function termOf(model: MemEncryptionModel, count: number, options: DoctorOptions) {
  const { label } = MEM_ENCRYPTION_MODELS[model]
  const guest = largestGuest(model, options)
  // A model that no flavor asks for has no guests.
  if (guest === undefined) return { pinnedMb: 0, words: `${label}: no flavor asks for it` }
  const claim = `(${guest.memoryMb} of ${guest.flavor} + ${options.overheadMb})`
  if (count === UNKNOWN_SLOTS) return { pinnedMb: undefined, words: `uncounted ${label} slots x ${claim}` }
  const pinnedMb = count * (guest.memoryMb + options.overheadMb)
  return { pinnedMb, words: `${count} ${label} slots x ${claim} = ${pinnedMb} MiB` }
}

/** Slots times the largest guest of each model, against what placement may give away. */
export function checkMemoryForSlots(memoryMb: number, slots: OfferedSlots, options: DoctorOptions): Finding {
  const { reserved_host_memory_mb: reserved } = options.resources
  const { offeredMb, pinnedMb, inWords } = memorySums(memoryMb, slots, options)
  const offered = `${memoryMb} MiB - ${reserved} reserved = ${offeredMb} offered`
  const largest = Object.keys(slots)
    .flatMap((model) => largestGuest(model as MemEncryptionModel, options) ?? [])
    .toSorted((a, b) => b.memoryMb - a.memoryMb)[0]
  if (largest === undefined) {
    const fix = 'name the flavors in the configuration, [flavors], as compose.toml does'
    if (Object.keys(slots).length === 0) return skip(SLOTS, offered, 'the host offers no slots')
    return warn(
      SLOTS,
      offered,
      `${shareOf(offeredMb, slots)}; no flavor of the configuration says how large guests are`,
      fix,
    )
  }
  const claimMb = largest.memoryMb + options.overheadMb
  const most = Math.floor(offeredMb / claimMb)
  const sums = `${inWords}; the host has ${offered}`
  if (most === 0) {
    const meaning = `${sums}: ${largest.flavor} never fits here`
    return fail(
      SLOTS,
      `${largest.flavor} pins ${claimMb} MiB`,
      meaning,
      'add memory, or keep that flavor on other hosts (aggregates)',
    )
  }
  if (pinnedMb === undefined) {
    return warn(
      SLOTS,
      `${most} guests of ${largest.flavor} by memory`,
      sums,
      'take libvirt 8.0, which counts slots, or set compute.num_memory_encrypted_guests',
    )
  }
  if (pinnedMb <= offeredMb) return pass(SLOTS, `${pinnedMb} of ${offeredMb} MiB`, sums)
  const meaning = `${sums}: memory ends first, after ${most} of ${largest.flavor}. More are refused, never overcommitted`
  return warn(
    SLOTS,
    `${pinnedMb} of ${offeredMb} MiB`,
    meaning,
    'nothing, if that is meant; else add memory, or use smaller flavors',
  )
}

function shareOf(offeredMb: number, slots: OfferedSlots): string {
  const counts = Object.values(slots).filter((count) => count !== UNKNOWN_SLOTS)
  const total = counts.reduce((sum, count) => sum + count, 0)
  return total > 0 ? `${Math.floor(offeredMb / total)} MiB for each of ${total} slots` : 'slots are not counted'
}
