import { NO_HINTS } from '../../objects/scheduler-hints.ts'
import type { SchedulingRequest } from '../scheduling-request.ts'

export interface RequestKind {
  /** The same text: the same kind. */
  readonly key: string
  /** What filters and weighers without a `concern` see of every request of the kind. */
  readonly request: SchedulingRequest
}

/**
 * What requests have in common that most filters and weighers cannot tell apart: so what they say is remembered for all
 * of them. Which instance it is and whose, where it shall and shall not run, and which image has these properties, is not
 * of the kind. A field that is added to the spec is, until somebody says otherwise here.
 */
export function requestKind({ spec, resources }: SchedulingRequest): RequestKind {
  const { id: _, name: __, checksum: ___, size: ____, ...image } = spec.image
  const { migration: _____, ...staying } = spec
  const ofKind: SchedulingRequest['spec'] = {
    ...staying,
    instance_uuid: '',
    attempt: 1,
    project_id: null,
    user_id: null,
    flavor: { ...spec.flavor, description: null, projects: null },
    image,
    availability_zone: null,
    scheduler_hints: NO_HINTS,
    ignore_hosts: [],
    force_hosts: [],
  }
  return { key: JSON.stringify(ofKind), request: { spec: ofKind, resources } }
}
