import { InstanceNotFound, InvalidArguments, SevbusError } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import type { Session } from './session.ts'

export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Of what names an instance, in characters: longer words name none. */
const MAX_NAME = 255

/**
 * An instance by uuid, or by a name that only one has. What looks like a uuid is one, and never a name: were it looked for
 * among names as well, the word for an instance that is long gone could come to mean another.
 *
 * @throws InstanceNotFound, InvalidArguments
 */
export async function findInstance({ conductor, context }: Session, word: string): Promise<Instance> {
  if (UUID.test(word)) return (await conductor.getInstance(context, { instance_uuid: word })).instance
  const listed = async (vm_state?: 'deleted') => {
    if (word.length > MAX_NAME) return []
    return (await conductor.listInstances(context, { name: word, ...(vm_state && { vm_state }) })).instances
  }
  const living = await listed()
  // A deleted one is still there to be looked at, when no other has its name.
  const instances = living.length > 0 ? living : await listed('deleted')
  const [found, ...others] = instances
  if (found === undefined) {
    throw new InstanceNotFound(`no instance is called ${word === '' ? '""' : word}`, {
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

/** Names choose here, and a uuid always chooses what has it: nothing that is made here is called like one. @throws InvalidArguments */
export function refuseUuid(field: string, name: string): void {
  if (!UUID.test(name)) return
  const fix = 'write a name: a uuid always means what has it'
  throw new InvalidArguments(`${field} is ${JSON.stringify(name)}, which is a uuid; ${fix}`, {
    field,
    value: name,
    fix,
  })
}

/**
 * All that are named, each once, before anything is done to any of them.
 *
 * @throws InstanceNotFound when some are not there, InvalidArguments when a name has several: with every word that is wrong
 */
export async function findInstances(session: Session, words: readonly string[]): Promise<readonly Instance[]> {
  const found = new Map<string, Instance>()
  const wrong: { readonly name: string; readonly error: SevbusError }[] = []
  for (const name of new Set(words)) {
    try {
      const instance = await findInstance(session, name)
      found.set(instance.uuid, instance)
    } catch (error) {
      if (!(error instanceof SevbusError) || !isOfTheWord(error)) throw error
      wrong.push({ name, error })
    }
  }
  const [first] = wrong
  if (first === undefined) return [...found.values()]
  if (words.length === 1) throw first.error
  throw wrongWords(wrong)
}

function isOfTheWord({ code }: SevbusError): boolean {
  return code === InstanceNotFound.code || code === InvalidArguments.code
}

function wrongWords(wrong: readonly { readonly name: string; readonly error: SevbusError }[]): SevbusError {
  const areAllMissing = wrong.every(({ error }) => error.code === InstanceNotFound.code)
  const what = wrong.map(({ error }) => error.message).join('; ')
  const fixes = wrong.map(({ error }) => error.details.fix).filter((fix) => typeof fix === 'string')
  return new (areAllMissing ? InstanceNotFound : InvalidArguments)(`${what}; nothing was done to any of them`, {
    names: wrong.map(({ name }) => name),
    problems: wrong.map(({ name, error: { code, message, details } }) => ({ name, code, message, details })),
    fix: [...new Set(fixes)].join('; '),
  })
}
