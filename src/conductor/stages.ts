import type { Instance } from '../objects/instance.ts'

type Staged = Pick<Instance, 'task_state' | 'attempt'>
type Stage = NonNullable<Instance['task_state']>

/** Nova's words for the two stages of a try: of an instance that is new, and of one that lives already and moves. */
export const BUILD = { waiting: 'scheduling', onHost: 'spawning' } as const
export const REBUILD = { waiting: 'rebuilding', onHost: 'rebuild_spawning' } as const
export const RESIZE = { waiting: 'resize_prep', onHost: 'resize_finish' } as const
/** Of a resize between the two, and when it is decided what becomes of it. */
const LEAVING = ['resize_migrating', 'resize_confirming', 'resize_reverting'] as const

export function stagesOf({ task_state }: Pick<Instance, 'task_state'>): typeof BUILD | typeof REBUILD | typeof RESIZE {
  if (is(task_state, RESIZE.waiting, RESIZE.onHost, ...LEAVING)) return RESIZE
  return is(task_state, REBUILD.waiting, REBUILD.onHost) ? REBUILD : BUILD
}

export function isMoving({ task_state }: Pick<Instance, 'task_state'>): boolean {
  return is(task_state, REBUILD.waiting, REBUILD.onHost, RESIZE.waiting, RESIZE.onHost, ...LEAVING)
}

/** Under way, or waiting for a decision. */
export function hasMove(instance: Pick<Instance, 'vm_state' | 'task_state'>): boolean {
  return isMoving(instance) || instance.vm_state === 'resized'
}

/** This try of it waits for a host. */
export function isWaitingForHost({ task_state, attempt }: Staged, ofAttempt: number): boolean {
  return attempt === ofAttempt && is(task_state, BUILD.waiting, REBUILD.waiting, RESIZE.waiting)
}

/** Its host has been told to build it. */
export function isOnItsHost({ task_state }: Pick<Instance, 'task_state'>): boolean {
  return is(task_state, BUILD.onHost, REBUILD.onHost, RESIZE.onHost)
}

function is(stage: Instance['task_state'], ...stages: readonly Stage[]): boolean {
  return stage !== null && stages.includes(stage)
}
