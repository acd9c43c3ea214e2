import type { Instance } from '../objects/instance.ts'

type Staged = Pick<Instance, 'task_state' | 'attempt'>
type Stage = NonNullable<Instance['task_state']>

/** Nova's words for the two stages of a try: of an instance that is new, and of one that lives already and moves. */
export const BUILD = { waiting: 'scheduling', onHost: 'spawning' } as const
export const REBUILD = { waiting: 'rebuilding', onHost: 'rebuild_spawning' } as const

export function stagesOf(instance: Pick<Instance, 'task_state'>): typeof BUILD | typeof REBUILD {
  return isMoving(instance) ? REBUILD : BUILD
}

export function isMoving({ task_state }: Pick<Instance, 'task_state'>): boolean {
  return is(task_state, REBUILD.waiting, REBUILD.onHost)
}

/** This try of it waits for a host. */
export function isWaitingForHost({ task_state, attempt }: Staged, ofAttempt: number): boolean {
  return attempt === ofAttempt && is(task_state, BUILD.waiting, REBUILD.waiting)
}

/** Its host has been told to build it. */
export function isOnItsHost({ task_state }: Pick<Instance, 'task_state'>): boolean {
  return is(task_state, BUILD.onHost, REBUILD.onHost)
}

function is(stage: Instance['task_state'], ...stages: readonly Stage[]): boolean {
  return stage !== null && stages.includes(stage)
}
