import { memoryBacking } from '../objects/memory-backing.ts'
import type { RequestSpec } from '../objects/request-spec.ts'
import { requestedTraits } from '../objects/requested-traits.ts'
import { type ResourceRequest, resourceRequest } from '../objects/resource-request.ts'
import type { RefusedModel } from '../objects/scheduling-report.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { HintedHosts } from './hinted-hosts.ts'

/** The question as filters and weighers see it: what was asked, and what that takes. */
export interface SchedulingRequest {
  readonly spec: RequestSpec
  readonly resources: ResourceRequest
  /** Where those are that its hints speak of; absent: it has none. */
  readonly hinted?: HintedHosts
  /** Models that were looked for before this one, and why no host could give them. */
  readonly refusedModels?: readonly RefusedModel[]
  /** What is told of it, to be stored with its claim; absent: nobody is told. */
  readonly told?: (() => readonly DurableMessage[]) | undefined
}

/** @param overheadMb MiB that an encrypted guest pins beside its own memory */
export function schedulingRequest(spec: RequestSpec, overheadMb?: number): SchedulingRequest {
  const { flavor, image, mem_encryption } = spec
  const { locked } = memoryBacking(flavor, image, mem_encryption ?? undefined)
  const options = { locked, overheadMb, traits: requestedTraits(flavor, image) }
  return { spec, resources: resourceRequest(flavor, mem_encryption, options) }
}
