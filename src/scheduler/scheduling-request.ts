import { memoryBacking } from '../objects/memory-backing.ts'
import type { RequestSpec } from '../objects/request-spec.ts'
import { type ResourceRequest, resourceRequest } from '../objects/resource-request.ts'

/** The question as filters and weighers see it: what was asked, and what that takes. */
export interface SchedulingRequest {
  readonly spec: RequestSpec
  readonly resources: ResourceRequest
}

/** @param overheadMb MiB that an encrypted guest pins beside its own memory */
export function schedulingRequest(spec: RequestSpec, overheadMb?: number): SchedulingRequest {
  const { flavor, image, mem_encryption } = spec
  const { locked } = memoryBacking(flavor, image, mem_encryption ?? undefined)
  const options = overheadMb === undefined ? { locked } : { locked, overheadMb }
  return { spec, resources: resourceRequest(flavor, mem_encryption, options) }
}
