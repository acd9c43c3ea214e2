import { launchRequest } from '../../src/objects/launch-request.ts'
import { RequestSpec } from '../../src/objects/request-spec.ts'
import { requestFlavor } from '../../src/objects/resource-request.ts'
import type { SimulatedMove } from './instances.ts'
import type { Wish } from './wishes.ts'

/** As a conductor asks. */
export function specOf(
  wish: Wish,
  instance_uuid: string,
  attempt: number,
  ignore_hosts: readonly string[],
  move?: SimulatedMove,
): RequestSpec {
  const encryptions = launchRequest(wish.flavor, wish.image).choices.flatMap(({ encryption }) => encryption ?? [])
  return RequestSpec.parse({
    instance_uuid,
    attempt,
    project_id: null,
    user_id: null,
    flavor: requestFlavor(wish.flavor, encryptions),
    image: wish.image,
    mem_encryption: move?.source.mem_encryption ?? encryptions[0] ?? null,
    availability_zone: wish.zone,
    ignore_hosts,
    migration: move?.migration,
    ...(wish.group && { scheduler_hints: { group: wish.group.uuid } }),
  })
}
