import type { Instance } from '../objects/instance.ts'
import { collectInto } from '../objects/judge.ts'
import { memEncryptionRequest } from '../objects/mem-encryption-request.ts'
import { RequestSpec } from '../objects/request-spec.ts'
import { requestFlavor } from '../objects/resource-request.ts'

/** The question to the scheduler for this try, with the launch's translated flavor. */
export function requestSpec(instance: Instance, ignoreHosts: readonly string[]): RequestSpec {
  // Nothing is refused here: what an earlier release accepted and this one does not, the scheduler refuses by name.
  const encryptions = memEncryptionRequest(instance.flavor, instance.image, collectInto([]))
  return RequestSpec.parse({
    instance_uuid: instance.uuid,
    attempt: instance.attempt,
    project_id: instance.project_id,
    user_id: instance.user_id,
    flavor: requestFlavor(instance.flavor, encryptions),
    image: instance.image,
    mem_encryption: instance.mem_encryption,
    availability_zone: instance.availability_zone,
    scheduler_hints: instance.scheduler_hints,
    ignore_hosts: ignoreHosts,
  })
}
