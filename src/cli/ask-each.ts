import { type SevbusError, toSevbusError } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import { EXIT, exitCodeFor } from './exit-codes.ts'
import { findInstances } from './find-instance.ts'
import { instanceTable } from './instance-view.ts'
import { note, type Output, print, printJson } from './output.ts'
import type { Session } from './session.ts'

/** Asks for something to be done to one instance. */
export type Ask = (session: Session, uuid: string) => Promise<{ readonly instance: Instance }>

/** What came of asking for several. */
export interface Answers {
  readonly accepted: readonly Instance[]
  readonly refused: readonly { readonly instance: Instance; readonly error: SevbusError }[]
  /** Nobody answered any more: these were not asked for. */
  readonly notTried: readonly Instance[]
}

/**
 * Asks for each instance that is named, one after the other: all words are looked up before, and one that is refused keeps
 * nobody from the others.
 *
 * @throws what findInstances does; of a single instance its refusal
 */
export async function askEach(session: Session, words: readonly string[], ask: Ask): Promise<Answers> {
  const instances = await findInstances(session, words)
  const accepted: Instance[] = []
  const refused: { instance: Instance; error: SevbusError }[] = []
  for (const [index, instance] of instances.entries()) {
    try {
      accepted.push((await ask(session, instance.uuid)).instance)
    } catch (thrown) {
      if (instances.length === 1) throw thrown
      const error = toSevbusError(thrown)
      refused.push({ instance, error })
      if (exitCodeFor(error) === EXIT.UNREACHABLE) return { accepted, refused, notTried: instances.slice(index + 1) }
    }
  }
  return { accepted, refused, notTried: [] }
}

/** Beside `instances` in the document for programs; nothing where all were accepted. */
export function refusalsJson({ refused, notTried }: Answers) {
  if (refused.length === 0) return {}
  return {
    errors: refused.map(({ instance: { uuid, name }, error: { code, message, details } }) => ({
      instance_uuid: uuid,
      name,
      code,
      message,
      details,
    })),
    not_tried: notTried.map(({ uuid }) => uuid),
  }
}

/** The instances as they are now, and who was refused why. */
export function printAnswers(instances: readonly Instance[], answers: Answers, { json }: Pick<Output, 'json'>): void {
  if (json) {
    printJson({ instances, ...refusalsJson(answers) })
    return
  }
  if (instances.length > 0) print(instanceTable(instances))
  const { refused, notTried } = answers
  for (const { instance, error } of refused) {
    const { fix } = error.details
    const todo = typeof fix === 'string' && !error.message.includes(fix) ? `; ${fix}` : ''
    note(`${instance.name}: ${error.code}: ${error.message}${todo}`)
  }
  if (notTried.length > 0) note(`not tried: ${notTried.map(({ name }) => name).join(', ')}`)
}

/** Of the first that was refused. */
export function exitCodeOf({ refused: [first] }: Answers): number {
  return first === undefined ? EXIT.OK : exitCodeFor(first.error)
}
