import pc from 'picocolors'
import type { Finding, Verdict } from '../compute/doctor/finding.ts'
import type { Diagnosis } from './diagnosis.ts'
import { wrapped } from './wrapped.ts'

/** Without a terminal: as most of them are. */
const USUAL_COLUMNS = 100
/** Longer lines are hard to read. */
const MOST_COLUMNS = 120
const LEAST_COLUMNS = 60

const WORDS: Readonly<Record<Verdict, string>> = {
  pass: pc.green('pass'),
  warn: pc.yellow('warn'),
  fail: pc.bold(pc.red('FAIL')),
  skip: pc.dim('skip'),
}
/** Two of indent, the verdict, and two more. */
const VALUE_COLUMN = 8

/** The diagnosis as people read it: from below to above, with the fix under what needs one. */
export function diagnosisText(diagnosis: Diagnosis, terminal: number | undefined): string {
  const columns = Math.max(Math.min(terminal ?? USUAL_COLUMNS, MOST_COLUMNS), LEAST_COLUMNS)
  const groups = [...new Set(diagnosis.findings.map(({ group }) => group))]
  const parts = groups.map((group) => {
    const findings = diagnosis.findings.filter((finding) => finding.group === group)
    return [pc.bold(group), ...findings.map((finding) => findingText(finding, columns))].join('\n')
  })
  return [headline(diagnosis), ...parts, conclusion(diagnosis)].join('\n\n')
}

function headline({ host, uri }: Diagnosis): string {
  return uri === null ? `${pc.bold(host)}: a simulated host` : `${pc.bold(host)}: this machine, by ${uri}`
}

function findingText({ title, verdict, value, meaning, fix }: Finding, columns: number): string {
  const width = columns - VALUE_COLUMN
  const indent = ' '.repeat(VALUE_COLUMN)
  const [first = '', ...rest] = wrapped(`${title}: ${value}`, width)
  // What is well needs one line, where it fits.
  const isShort = fix === null && rest.length === 0 && first.length + meaning.length + 3 <= width
  const lines = [
    `  ${WORDS[verdict]}  ${isShort ? `${first} – ${pc.dim(meaning)}` : first}`,
    ...rest.map((line) => indent + line),
    ...(isShort ? [] : wrapped(meaning, width).map((line) => indent + pc.dim(line))),
    ...(fix === null ? [] : fixLines(fix, width, indent)),
  ]
  return lines.join('\n')
}

function fixLines(fix: string, width: number, indent: string): readonly string[] {
  const label = 'fix: '
  return wrapped(label + fix, width).map((line, n) =>
    n === 0 ? indent + pc.bold(label) + line.slice(label.length) : indent + line,
  )
}

function conclusion({ verdict, counts }: Diagnosis): string {
  const sums = `${counts.fail} failed, ${counts.warn} to look at, ${counts.pass} passed, ${counts.skip} not judged`
  const words = {
    pass: pc.green('All is as encrypted guests need it.'),
    warn: pc.yellow('Encrypted guests can run here; look at the warnings.'),
    fail: pc.red('Not fit for encrypted guests: mend the first failure first.'),
  }
  return `${sums}\n${words[verdict]}`
}
