/**
 * A number that looks random but is the same for the same two names, wherever it is computed: instances that find the
 * same best hosts go different ways, and the same instance goes the same way in every scheduler.
 *
 * FNV-1a with the finalizer of MurmurHash3, 32 bits: without it, names that differ at their end only would stay close.
 */
export function tieBreak(instanceUuid: string, host: string): number {
  let hash = 0x811c9dc5
  for (const character of `${instanceUuid}/${host}`) {
    hash = Math.imul(hash ^ (character.codePointAt(0) as number), 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
