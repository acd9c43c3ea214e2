import type { Instance } from '../objects/instance.ts'

type Staged = Pick<Instance, 'task_state' | 'attempt'>
type Stage = NonNullable<Instance['task_state']>

/** Nova's words for the two stages of a try: of an instance that is new, and of one that lives already and moves. */
const BUILD = { waiting: 'scheduling', onHost: 'spawning' } as const
export const REBUILD = { waiting: 'rebuilding', onHost: 'rebuild_spawning' } as const
export const RESIZE = { waiting: 'resize_prep', onHost: 'resize_finish' } as const
export const UNSHELVE = { waiting: 'unshelving', onHost: 'spawning' } as const
/** Of a resize between the two, and when it is decided what becomes of it. */
const LEAVING = ['resize_migrating', 'resize_confirming', 'resize_reverting'] as const
/** Of a live migration: its guest is where it was until it is at its destination, and nobody decides. */
export const LIVE = { waiting: 'migrating_prep', onHost: 'migrating_finish' } as const
const GOING = ['migrating', 'migrating_reverting'] as const

type Stages = typeof BUILD | typeof REBUILD | typeof RESIZE | typeof LIVE | typeof UNSHELVE

export function stagesOf({ task_state, vm_state }: Pick<Instance, 'task_state' | 'vm_state'>): Stages {
  if (vm_state === 'shelved_offloaded') return UNSHELVE
  if (is(task_state, LIVE.waiting, LIVE.onHost, ...GOING)) return LIVE
  if (is(task_state, RESIZE.waiting, RESIZE.onHost, ...LEAVING)) return RESIZE
  return is(task_state, REBUILD.waiting, REBUILD.onHost) ? REBUILD : BUILD
}

export function isMoving({ task_state }: Pick<Instance, 'task_state'>): boolean {
  const isLive = is(task_state, LIVE.waiting, LIVE.onHost, ...GOING)
  return isLive || is(task_state, REBUILD.waiting, REBUILD.onHost, RESIZE.waiting, RESIZE.onHost, ...LEAVING)
}

/** Under way, or waiting for a decision. */
export function hasMove(instance: Pick<Instance, 'vm_state' | 'task_state'>): boolean {
  return isMoving(instance) || instance.vm_state === 'resized'
}

/** This try of it waits for a host. */
export function isWaitingForHost({ task_state, attempt }: Staged, ofAttempt: number): boolean {
  return (
    attempt === ofAttempt &&
    is(task_state, BUILD.waiting, REBUILD.waiting, RESIZE.waiting, LIVE.waiting, UNSHELVE.waiting)
  )
}

/** Its host has been told to build it. */
export function isOnItsHost({ task_state }: Pick<Instance, 'task_state'>): boolean {
  return is(task_state, BUILD.onHost, REBUILD.onHost, RESIZE.onHost, LIVE.onHost)
}

function is(stage: Instance['task_state'], ...stages: readonly Stage[]): boolean {
  return stage !== null && stages.includes(stage)
}
