import { readFileSync } from 'node:fs'
import type { Reporter, TestModule, Vitest } from 'vitest/node'
import type { NotRun } from './not-run.ts'
import './provided-context.ts'

interface Counts {
  passed: number
  failed: number
  skipped: number
}

/** The last lines of a run: which servers it used, what it could not run, and how many tests ran. */
export default class SummaryReporter implements Reporter {
  #vitest: Vitest | undefined

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const context = this.#vitest?.getRootProject().getProvidedContext()
    const counts = countTests(modules)
    const notRun = readNotRun(context?.notRunFile)
    const lines = [
      ...(context?.brokerDescription ? [`broker: ${context.brokerDescription}`] : []),
      ...(context?.databaseDescription ? [`database: ${context.databaseDescription}`] : []),
      ...(context?.osloPeers ? [`Python peers: ${context.osloPeers}`] : []),
      ...(context?.hypervisor ? [`real guests: ${context.hypervisor}`] : []),
      ...notRun.map(({ name, why, how }) => `not run: ${name}: ${why}. To run it: ${how}`),
    ]
    if (process.env.CI && (notRun.length > 0 || counts.skipped > 0)) {
      lines.push('failed: with CI set everything must run')
      process.exitCode = 1
    }
    lines.push(closingLine(counts))
    console.log(`\n${lines.join('\n')}`)
  }
}

function countTests(modules: readonly TestModule[]): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 }
  for (const module of modules) {
    for (const test of module.children.allTests()) {
      const { state } = test.result()
      counts[state === 'pending' ? 'skipped' : state] += 1
    }
    // A file that could not be loaded has no tests to count.
    if (module.state() === 'failed' && module.errors().length > 0) counts.failed += 1
  }
  return counts
}

function closingLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

function readNotRun(file: string | undefined): readonly NotRun[] {
  if (file === undefined) return []
  try {
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
    return [...new Set(lines)].map((line) => JSON.parse(line) as NotRun)
  } catch {
    return [] // nobody wrote: everything ran
  }
}
