import type { ServerGroupPolicy } from '../objects/server-group.ts'
import type { SchedulingRequest } from './scheduling-request.ts'

/** What of a request somebody looks at who cares about groups of one policy; undefined: there is nothing to say. */
export function groupConcern({ hinted }: SchedulingRequest, policy: ServerGroupPolicy): string | undefined {
  if (hinted?.group?.policy !== policy) return undefined
  const { uuid, maxServerPerHost, members } = hinted.group
  return JSON.stringify([uuid, maxServerPerHost, [...members]])
}
