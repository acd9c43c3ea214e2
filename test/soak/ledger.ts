import { openSync, readFileSync, writeSync } from 'node:fs'

/** How something that was asked has ended for who asked. */
export type Outcome = { readonly n: number } | { readonly code: string } | { readonly untyped: string }

export type Fact =
  /** About to be asked: `answer` is what must come back, or `refusal`. */
  | { readonly type: 'call'; readonly id: string; readonly timeoutMs: number; readonly answer: number | 'refusal' }
  /** About to be sent without an outbox. */
  | { readonly type: 'cast'; readonly id: string; readonly timeoutMs: number }
  | { readonly type: 'ended'; readonly id: string; readonly tookMs: number; readonly outcome: Outcome }
  /** The transaction that stored these for the relay has been committed. */
  | { readonly type: 'stored'; readonly ids: readonly string[] }
  /** A server is about to do it. */
  | { readonly type: 'ran'; readonly id: string }
  | { readonly type: 'notified'; readonly id: string; readonly messageId: string | null }
  /** After a collection of garbage; `messages` is how many this process has had to do with. */
  | { readonly type: 'memory'; readonly bytes: number; readonly messages: number }
  /** For so long before this the process was not let run, or was busy: no timer of it could end on time. */
  | { readonly type: 'stalled'; readonly ms: number }
  /** The process has closed everything and ends. */
  | { readonly type: 'finished' }

/** `at` is in milliseconds since 1970: all processes share one clock. */
export type Entry = Fact & { readonly at: number }

/** What one process has seen, a line each. A line is with the system before anything follows from it, so SIGKILL loses none. */
export class Ledger {
  readonly #file: number

  constructor(path: string) {
    this.#file = openSync(path, 'ax')
  }

  write(fact: Fact): void {
    writeSync(this.#file, `${JSON.stringify({ ...fact, at: Date.now() })}\n`)
  }
}

/** @throws SyntaxError when a line is torn: writes are whole, whenever the process was killed */
export function readLedger(path: string): readonly Entry[] {
  const lines = readFileSync(path, 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Entry)
}
