/**
 * `fail`: encrypted guests do not start here, or not safely; `warn`: they may, and somebody should look, which what cannot
 * be read is, too; `skip`: there is nothing to judge, for the reason that `meaning` has.
 */
export type Verdict = 'pass' | 'warn' | 'fail' | 'skip'

/** What one check came to. */
export interface Finding {
  /** For programs; never reused for something else. */
  readonly check: string
  readonly title: string
  readonly verdict: Verdict
  /** What was found. */
  readonly value: string
  readonly meaning: string
  /** What to do; null where there is nothing to do. */
  readonly fix: string | null
}

/** What a check is called. */
export type Check = Pick<Finding, 'check' | 'title'>

export function pass(check: Check, value: string, meaning: string): Finding {
  return { ...check, verdict: 'pass', value, meaning, fix: null }
}

export function skip(check: Check, value: string, meaning: string): Finding {
  return { ...check, verdict: 'skip', value, meaning, fix: null }
}

export function warn(check: Check, value: string, meaning: string, fix: string): Finding {
  return { ...check, verdict: 'warn', value, meaning, fix }
}

export function fail(check: Check, value: string, meaning: string, fix: string): Finding {
  return { ...check, verdict: 'fail', value, meaning, fix }
}
