/**
 * Applies one rule and gives its answer; what is taken instead, when it refuses and the judge goes on, is the second
 * argument.
 */
export interface Judge {
  (rule: () => void): void
  <T>(rule: () => T, otherwise: T): T
}

/** For everybody who acts: the first refusal ends it. */
export const strict = ((rule: () => unknown) => rule()) as Judge

/** For who wants to know all that is wrong at once: notes each refusal, and goes on. */
export function collectInto(refusals: unknown[]): Judge {
  return ((rule: () => unknown, otherwise: unknown) => {
    try {
      return rule()
    } catch (refusal) {
      refusals.push(refusal)
      return otherwise
    }
  }) as Judge
}
