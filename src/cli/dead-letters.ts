import { busNames } from '../compose/names.ts'
import { DeadLetterNotFound, InvalidArguments, MessagingTimeout, toSevbusError } from '../errors.ts'
import { type DeadLetter, DeadLetterBox, MAX_LETTERS, type Verdict } from '../rpc/dead-letter-box.ts'
import { letterContent, letterFacts, letterJson, letterTable, letterText } from './dead-letter-view.ts'
import { EXIT } from './exit-codes.ts'
import { note, print, printJson } from './output.ts'
import { type GlobalOptions, type Session, withSession } from './session.ts'

export interface DeadLetterOptions extends GlobalOptions {
  readonly limit?: string
  /** All of them, instead of ids. */
  readonly all?: boolean
  /** Only those with this error. */
  readonly code?: string
  /** What is purged is gone. */
  readonly yes?: boolean
}

export async function listDeadLetters(options: DeadLetterOptions): Promise<number> {
  const limit = limitOf(options)
  return withSession(options, async (session) => {
    const { letters, others } = await boxOf(session).look(limit, waitOf(options))
    if (options.json) printJson({ dead_letters: letters.map(letterJson), others })
    else if (letters.length === 0) print('no dead letters')
    else print(letterTable(letters))
    if (others > 0) note(`and ${others} more: beyond --limit, or somebody else looks at them now`)
    return EXIT.OK
  })
}

export async function showDeadLetter(id: string, options: DeadLetterOptions): Promise<number> {
  return withSession(options, async (session) => {
    const { letters } = await boxOf(session).look(MAX_LETTERS, waitOf(options))
    const letter = letters.find((each) => each.id === id)
    if (letter === undefined) throw notFound([id])
    if (options.json) printJson({ ...letterJson(letter), message: letterContent(letter) })
    else print(`${letterFacts(letter)}\n\n${letterText(letter)}`)
    return EXIT.OK
  })
}

/** Sends them once more to the queues they came from. */
export async function replayDeadLetters(ids: readonly string[], options: DeadLetterOptions): Promise<number> {
  return await settleLetters('replay', 'replayed', ids, options)
}

export async function purgeDeadLetters(ids: readonly string[], options: DeadLetterOptions): Promise<number> {
  if (!options.yes) {
    const fix = 'look at them first (sevbus dead-letters list, show ID), then add --yes'
    throw new InvalidArguments(`what is purged is gone for good; ${fix}`, { field: '--yes', fix })
  }
  return await settleLetters('purge', 'purged', ids, options)
}

async function settleLetters(
  verdict: Exclude<Verdict, 'keep'>,
  done: string,
  ids: readonly string[],
  options: DeadLetterOptions,
): Promise<number> {
  const { all = false, code } = options
  if (all === ids.length > 0) {
    const fix = `name ids (sevbus dead-letters list), or say --all, and not both`
    throw new InvalidArguments(`which dead letters? ${fix}`, { field: 'ids', value: [...ids], fix })
  }
  const wanted = new Set(ids)
  const isMeant = (letter: DeadLetter) =>
    (all || wanted.has(letter.id)) && (code === undefined || letter.errorCode === code)
  return withSession(options, async (session) => {
    const judge = (letter: DeadLetter): Verdict => (isMeant(letter) ? verdict : 'keep')
    const { settled, failed, others } = await boxOf(session).settle(judge, waitOf(options))
    const missing = ids.filter((id) => ![...settled, ...failed.map(({ letter }) => letter)].some((l) => l.id === id))
    if (options.json) {
      const failures = failed.map(({ letter, error }) => ({
        ...letterJson(letter),
        failure: toSevbusError(error).message,
      }))
      printJson({ [done]: settled.map(letterJson), failed: failures, not_found: missing, others })
    } else {
      if (settled.length > 0) print(letterTable(settled))
      print(`${done}: ${settled.length}`)
      for (const { letter, error } of failed) note(`${letter.id} is kept: ${toSevbusError(error).message}`)
      if (missing.length > 0) note(notFound(missing).message)
    }
    if (others > 0) note(`${others} more were not looked at: beyond ${MAX_LETTERS}, or somebody else looks at them now`)
    if (missing.length > 0) return EXIT.NOT_FOUND
    return failed.length > 0 ? EXIT.FAILED : EXIT.OK
  })
}

function boxOf({ transport, config }: Session): DeadLetterBox {
  return new DeadLetterBox(transport, busNames(config))
}

/** For all of it; what was done by then is told. */
function waitOf({ timeout = '10' }: DeadLetterOptions): AbortSignal {
  const controller = new AbortController()
  const fix = 'do it again with a longer --timeout; what was done is done'
  const error = new MessagingTimeout(`not done within ${timeout} s; ${fix}`, {
    timeout_ms: Number(timeout) * 1000,
    fix,
  })
  setTimeout(() => controller.abort(error), Number(timeout) * 1000).unref()
  return controller.signal
}

function notFound(ids: readonly string[]): DeadLetterNotFound {
  const fix = 'see them with: sevbus dead-letters list'
  return new DeadLetterNotFound(`no dead letter has the id ${ids.join(', ')}; ${fix}`, { ids, fix })
}

function limitOf({ limit = '100' }: DeadLetterOptions): number {
  const count = Number(limit)
  if (Number.isInteger(count) && count >= 1 && count <= MAX_LETTERS) return count
  const fix = `write a whole number from 1 to ${MAX_LETTERS}`
  throw new InvalidArguments(`--limit is ${JSON.stringify(limit)}; ${fix}`, { field: '--limit', value: limit, fix })
}
