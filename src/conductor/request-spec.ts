import type { Instance } from '../objects/instance.ts'
import { RequestSpec } from '../objects/request-spec.ts'
import { launchFlavor } from '../objects/resource-request.ts'

/** The question to the scheduler for this try, with the launch's translated flavor. */
export function requestSpec(instance: Instance, ignoreHosts: readonly string[]): RequestSpec {
  return RequestSpec.parse({
    instance_uuid: instance.uuid,
    attempt: instance.attempt,
    project_id: instance.project_id,
    user_id: instance.user_id,
    flavor: launchFlavor(instance.flavor, instance.mem_encryption),
    image: instance.image,
    mem_encryption: instance.mem_encryption,
    availability_zone: instance.availability_zone,
    scheduler_hints: instance.scheduler_hints,
    ignore_hosts: ignoreHosts,
  })
}
