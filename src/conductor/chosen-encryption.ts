import { InvalidProperty } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import { launchRequest, refuseDisagreement } from '../objects/launch-request.ts'
import type { MemEncryption } from '../objects/mem-encryption.ts'
import type { Selection } from '../objects/request-spec.ts'

/**
 * What the instance will run with: the scheduler's answer, if it is among what flavor and image ask for.
 *
 * @throws InvalidProperty
 */
export function chosenEncryption({ flavor, image }: Instance, selection: Selection): MemEncryption | null {
  const request = launchRequest(flavor, image)
  const { choices } = request
  if (selection.mem_encryption !== undefined) {
    return refuseDisagreement(request, selection.mem_encryption).encryption ?? null
  }
  if (choices.length === 1) return choices[0].encryption ?? null
  throw new InvalidProperty(
    `the scheduler does not say which of ${choices.map(({ encryption }) => encryption?.model).join(', ')} has the slot on ${selection.host}; the instance is not started`,
    { property: 'mem_encryption', host: selection.host, fix: 'run schedulers of this release everywhere' },
  )
}
