import type { RequestSpec } from '../objects/request-spec.ts'
import { type ResourceRequest, resourceRequest } from '../objects/resource-request.ts'

/** The question as filters and weighers see it: what was asked, and what that takes. */
export interface SchedulingRequest {
  readonly spec: RequestSpec
  readonly resources: ResourceRequest
}

export function schedulingRequest(spec: RequestSpec): SchedulingRequest {
  return { spec, resources: resourceRequest(spec.flavor, spec.mem_encryption) }
}
