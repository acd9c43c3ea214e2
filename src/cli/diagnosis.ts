import type { FindingGroup } from '../compute/doctor/diagnose.ts'
import type { Finding, Verdict } from '../compute/doctor/finding.ts'
import type { Config } from '../config.ts'

/** What doctor found; also the document of --json. Names are for programs, and stay. */
export interface Diagnosis {
  readonly host: string
  /** What was looked at: this machine, or a simulated one. */
  readonly driver: 'fake' | 'libvirt'
  /** Of libvirt; null: there is none. */
  readonly uri: string | null
  /** The worst of all findings. */
  readonly verdict: Exclude<Verdict, 'skip'>
  readonly counts: Readonly<Record<Verdict, number>>
  readonly findings: readonly (Finding & { readonly group: string })[]
}

export function diagnosisOf(config: Config, driver: Diagnosis['driver'], groups: readonly FindingGroup[]): Diagnosis {
  const findings = groups.flatMap(({ group, findings: found }) => found.map((finding) => ({ group, ...finding })))
  const count = (verdict: Verdict) => findings.filter((finding) => finding.verdict === verdict).length
  const counts = { pass: count('pass'), warn: count('warn'), fail: count('fail'), skip: count('skip') }
  return {
    host: config.compute.host,
    driver,
    uri: driver === 'libvirt' ? config.libvirt.uri : null,
    verdict: counts.fail > 0 ? 'fail' : counts.warn > 0 ? 'warn' : 'pass',
    counts,
    findings,
  }
}
