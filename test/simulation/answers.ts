import { isDeepStrictEqual } from 'node:util'
import { SevbusError } from '../../src/errors.ts'
import type { Selection } from '../../src/objects/request-spec.ts'
import { type Ask, type BatchAsk, choices } from './ask.ts'
import type { SimulatedInstance } from './instances.ts'
import { must, Violation } from './violation.ts'

/** What was really claimed for each try, as the tables showed it: `uuid/attempt` to host and allocations. */
export type ClaimsSeen = ReadonlyMap<string, { readonly host: string; readonly allocations: readonly string[] }>

export function tryName(uuid: string, attempt: number): string {
  return `${uuid}/${attempt}`
}

/**
 * Checks what a question was answered.
 *
 * @returns in words, for the trace
 * @throws Violation
 */
export function checkAnswer(ask: Ask, claims: ClaimsSeen): string {
  const { outcome, instance, attempt, scheduler } = ask
  const who = `${instance.name} (${instance.wish.name}), try ${attempt}, by ${scheduler.name}`
  if (outcome === undefined) throw new Error('it was not answered')
  if ('selection' in outcome) {
    must(!ask.isVoid, () => `${who} was void before it was asked, and got ${outcome.selection.host}`)
    return checkSelection(instance, attempt, outcome.selection, claims, who)
  }
  const { error } = outcome
  if (!(error instanceof SevbusError)) throw new Violation(`${who}: ${error instanceof Error ? error.stack : error}`)
  if (error.code === 'NO_VALID_HOST') checkRefusal(ask, who, error)
  else if (error.code === 'STALE_ATTEMPT') {
    const move = instance.moves.get(attempt)?.state
    const isMoved = move === 'is being reverted' || move === 'reverted'
    const isOver = instance.tries > attempt || instance.gaveBackThrough >= attempt || isMoved
    must(isOver, () => `${who} was told that it is void, and is not: ${error.message}`)
  } else if (error.code !== 'DATABASE_UNAVAILABLE') throw new Violation(`${who}: ${error.stack}`)
  return `${who}: ${error.code}`
}

/** @throws Violation */
export function checkBatchAnswer(ask: BatchAsk, claims: ClaimsSeen): string {
  const { outcome, members, scheduler, didNotFit } = ask
  const who = `${members.map(({ name }) => name).join(', ')} (${members[0]?.wish.name}), all or none, by ${scheduler.name}`
  if (outcome === undefined) throw new Error('it was not answered')
  if ('selections' in outcome) {
    const { selections } = outcome
    for (const member of members) {
      const selection = selections.get(member.uuid)
      const isVoid = member.tries > 1 || member.gaveBackThrough > 0
      must(selection !== undefined || isVoid, () => `${who}: ${member.name} got nothing, and the others did`)
      if (selection !== undefined) checkSelection(member, 1, selection, claims, `${who}: ${member.name}`)
    }
    return `${who}: all`
  }
  const { error } = outcome
  if (!(error instanceof SevbusError)) throw new Violation(`${who}: ${error instanceof Error ? error.stack : error}`)
  if (error.code === 'NO_VALID_HOST') {
    must(didNotFit, () => `${who} were refused (${error.message}), and at every moment all would have found room`)
  } else if (error.code !== 'DATABASE_UNAVAILABLE') throw new Violation(`${who}: ${error.stack}`)
  return `${who}: none, ${error.code}`
}

function checkSelection(
  instance: SimulatedInstance,
  attempt: number,
  selection: Selection,
  claims: ClaimsSeen,
  who: string,
): string {
  const { host } = selection
  must(selection.attempt === attempt, () => `${who} was answered for try ${selection.attempt}`)
  const claimed = claims.get(tryName(instance.uuid, attempt))
  const told = { host, allocations: selection.allocations.map(allocationName).toSorted() }
  must(isDeepStrictEqual(claimed, told), () => {
    return `${who} was told ${JSON.stringify(told)}, and what was claimed is ${JSON.stringify(claimed)}`
  })
  const before = instance.answers.get(attempt)
  must(before === undefined || before.host === host, () => `${who} was told ${before?.host} first, and now ${host}`)
  instance.answers.set(attempt, selection)
  return `${who}: ${host}`
}

export function allocationName(one: Selection['allocations'][number]): string {
  return `${one.provider} ${one.resource_class} ${one.amount}`
}

/**
 * Nobody is refused while a host would do: there was a moment since the look that the refusal comes from when none did.
 * Hosts that were full one after the other, and never all at once, are no reason.
 */
function checkRefusal(ask: Ask, who: string, error: SevbusError): void {
  const wronged = choices(ask).find((model) => !ask.wereNone.has(model))
  must(wronged === undefined, () => {
    const reasons = JSON.stringify((error.details as { report?: { rejections?: unknown } }).report?.rejections)
    return `${who} was refused (${error.message}: ${reasons}), and at every moment some host had room for ${wronged}`
  })
}
