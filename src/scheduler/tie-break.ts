/** Of a name, 32 bits: FNV-1a. Names that differ at their end only stay close, so it is never compared as it is. */
export function nameHash(name: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193)
  return hash
}

/**
 * A number that looks random but is the same for the same two names, wherever it is computed: instances that find the
 * same best hosts go different ways, and the same instance goes the same way in every scheduler.
 *
 * @param instance the hash of its uuid and the scheduler's seed
 * @param host the hash of its name
 */
export function tieBreak(instance: number, host: number): number {
  // The finalizer of MurmurHash3: each bit of either name changes half of the bits of the outcome.
  let hash = instance ^ host
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
