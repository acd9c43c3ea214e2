import type { World } from './world.ts'

/** Something that happens. */
export interface Step {
  readonly weight: number
  /** @returns in words what happened; undefined when there was nothing that it could happen to */
  act(world: World): Promise<string | undefined> | string | undefined
}
