import { z } from 'zod'
import type { VmState } from './instance.ts'

/** What a guest does, as its host sees it; `missing`: the host has no guest of the instance. */
export const SeenGuestState = z.enum(['running', 'paused', 'shutoff', 'crashed', 'missing'])
export type SeenGuestState = z.infer<typeof SeenGuestState>

/**
 * What is done about a guest that does something else than its instance. `stop`: the instance is stopped, as if it had been
 * asked for, and so all who are to know it are told. `force stop`: the guest is taken down at once. `told`: it is only
 * written into the log.
 */
export type Correction = 'stop' | 'force stop' | 'told'

const OFF = { shutoff: 'stop', crashed: 'stop', missing: 'stop' } as const
const STOPPED_ALL_THE_SAME = { shutoff: 'force stop', crashed: 'force stop', missing: 'force stop' } as const

/**
 * Nova's table (`_sync_instance_power_state` in nova/compute/manager.py), but that a guest that has vanished is noticed, too:
 * it cannot be stopped, so its instance ends in ERROR with that reason. A guest that somebody paused, or let go on, is left
 * alone: whoever looks into it from outside may have done so. What is not at rest by its own state is none of this.
 */
const CORRECTIONS: Readonly<Record<VmState, Partial<Record<SeenGuestState, Correction>>>> = {
  building: {},
  active: { ...OFF, paused: 'told' },
  paused: { ...STOPPED_ALL_THE_SAME, running: 'told' },
  // Its memory is on the disk: whether its domain is still defined is seen when it is resumed.
  suspended: { running: 'told', paused: 'told' },
  // Without a guest it is as good as with one that is off: a start defines it anew.
  stopped: { running: 'force stop', paused: 'force stop' },
  // As in Nova: whoever rescues it does with its guest what it takes.
  rescued: {},
  // At either end of a move that nobody has decided about, as in Nova.
  resized: {},
  // Its host is about to remove it, or has.
  shelved: {},
  shelved_offloaded: {},
  error: {},
  deleted: {},
}

/** @returns undefined when the guest does what its instance is to do, or may do what it likes */
export function correctionOf(vmState: VmState, guest: SeenGuestState): Correction | undefined {
  return CORRECTIONS[vmState][guest]
}
