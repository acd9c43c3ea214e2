import { appendFileSync } from 'node:fs'
import { inject } from 'vitest'
import './provided-context.ts'

/** Something that this machine cannot test. */
export interface NotRun {
  readonly name: string
  readonly why: string
  readonly how: string
}

/**
 * Lists tests that could not run in the summary: nothing is left out in silence. With `CI` set it fails the run.
 *
 * @example
 * const python = await findOslo()
 * if (!python) notRun({ name: 'Python peers', why: 'no oslo.messaging', how: 'apt-get install python3-oslo.messaging' })
 * describe.runIf(python)('a Python peer', () => { … })
 */
export function notRun(what: NotRun): void {
  appendFileSync(inject('notRunFile'), `${JSON.stringify(what)}\n`)
}
