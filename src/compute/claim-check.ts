import { ClaimMismatch } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import { MEM_ENCRYPTION_MODELS } from '../objects/mem-encryption.ts'
import type { Allocation } from '../objects/request-spec.ts'
import { MEM_ENCRYPTION_CONTEXT } from '../objects/resources.ts'

/**
 * The spec encrypts a guest whose allocations have a MEM_ENCRYPTION_CONTEXT; here flavor and image decide, and the
 * allocations must say the same: one slot of the model's pool on this host for an encrypted guest, none for one in clear.
 * Started otherwise it would take a key that nobody counted, or count a key that nobody has.
 *
 * @param allocations undefined: the conductor does not tell
 * @throws ClaimMismatch
 */
export function refuseOtherClaim(
  { uuid, mem_encryption: encryption }: Pick<Instance, 'uuid' | 'mem_encryption'>,
  allocations: readonly Allocation[] | undefined,
  host: string,
): void {
  if (allocations === undefined) return
  const claimed = allocations
    .filter(({ resource_class }) => resource_class === MEM_ENCRYPTION_CONTEXT)
    .map(({ provider, amount }) => `${amount} of ${provider}`)
    .join(', ')
  const needed = encryption === null ? '' : `1 of ${host}${MEM_ENCRYPTION_MODELS[encryption.model].poolSuffix}`
  if (claimed === needed) return
  const kind = encryption === null ? 'runs in clear' : `runs with ${encryption.model}`
  throw new ClaimMismatch(
    `the guest ${kind} and needs ${needed || 'no'} ${MEM_ENCRYPTION_CONTEXT}, but its allocations have ${claimed || 'none'}; it is not started`,
    { instance_uuid: uuid, model: encryption?.model ?? null, needed: needed || null, claimed: claimed || null },
  )
}
