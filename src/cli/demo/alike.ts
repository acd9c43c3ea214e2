import { groupBy } from '../group-by.ts'
import type { Refusal } from './facts.ts'

/** Instances refused by the same hosts for the same reasons are told of together. */
export function alikeRefusals(
  refusals: readonly Refusal[],
): readonly { readonly names: string; readonly refusal: Refusal }[] {
  // The order in which hosts are named differs from one refusal to the next; what they say does not.
  const sameness = ({ code, message, report }: Refusal) =>
    JSON.stringify([code, report?.rejections.map((rejection) => JSON.stringify(rejection)).toSorted() ?? message])
  return groupBy(refusals, sameness).map((alike) => ({
    names: alike.map(({ name }) => name).join(', '),
    refusal: alike[0],
  }))
}
