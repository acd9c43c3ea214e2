import type { z } from 'zod'
import { InstanceNotFound } from '../../errors.ts'
import type { actionMethods } from '../action-methods.ts'
import { findInstance } from '../instance-store.ts'
import { asLeft } from '../messages.ts'
import type { ConductorPorts } from '../ports.ts'

type Asked = z.output<(typeof actionMethods)['checkAction']['input']>

/** Is it the one that its instance waits for, there? What is done to an instance that nobody knows is not wanted either. */
export async function isActionWanted({ database }: ConductorPorts, asked: Asked): Promise<boolean> {
  try {
    const { instance, move, action } = await findInstance(database, asked.instance_uuid)
    if (action?.number !== asked.number) return false
    const { host, attempt } = move ? asLeft(instance, move) : instance
    return host === asked.host && attempt === asked.attempt
  } catch (error) {
    if (error instanceof InstanceNotFound) return false
    throw error
  }
}
