import { InstanceNotFound, InvalidArguments } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import type { Session } from './session.ts'

export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** An instance by uuid, or by a name that only one has. @throws InstanceNotFound, InvalidArguments */
export async function findInstance({ conductor, context }: Session, word: string): Promise<Instance> {
  if (UUID.test(word)) return (await conductor.getInstance(context, { instance_uuid: word })).instance
  const { instances: living } = await conductor.listInstances(context, { name: word })
  // A deleted one is still there to be looked at, when no other has its name.
  const instances =
    living.length > 0 ? living : (await conductor.listInstances(context, { name: word, vm_state: 'deleted' })).instances
  const [found, ...others] = instances
  if (found === undefined) {
    throw new InstanceNotFound(`no instance is called ${word}`, {
      name: word,
      fix: 'see their names with: sevbus list',
    })
  }
  if (others.length === 0) return found
  throw new InvalidArguments(`${instances.length} instances are called ${word}`, {
    name: word,
    uuids: instances.map(({ uuid }) => uuid),
    fix: `name one by its uuid: ${instances.map(({ uuid }) => uuid).join(', ')}`,
  })
}
