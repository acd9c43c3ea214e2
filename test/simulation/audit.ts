import { isDeepStrictEqual } from 'node:util'
import pino from 'pino'
import { Auditor } from '../../src/scheduler/audit/auditor.ts'
import { holds } from './capacity.ts'
import { info } from './messages.ts'
import { findingsOf, peersFor } from './simulated-fleet.ts'
import { must } from './violation.ts'
import { quiet, type World } from './world.ts'

/**
 * An audit, whatever is on its way: it finds what is more used than there is, by our own arithmetic, and nothing else.
 *
 * @throws Violation
 */
export async function audit(world: World): Promise<void> {
  const client = peersFor(world)
  const auditor = new Auditor({ database: world.engine, client, logger: pino({ level: 'silent' }) })
  const report = await passing(world, auditor.audit({ repair: false, settle_seconds: 0 }, info))
  const over = world.tables.inventories.filter((row) => row.used > 0 && !(row.offered && holds(row)))
  const found = report.findings.map(({ kind, problem }) => `${kind} of ${problem.split(':')[0]}`)
  const expected = over.map(({ provider, resource_class }) => `overcommit of ${resource_class} of ${provider}`)
  must(isDeepStrictEqual(found.toSorted(), expected.toSorted()), () => {
    return `the audit found ${findingsOf(report).join('; ') || 'nothing'}; expected: ${expected.join('; ') || 'nothing'}`
  })
}

/** What waits for time to pass gets it. */
async function passing<T>(world: World, work: Promise<T>): Promise<T> {
  let isOver = false
  const over = () => {
    isOver = true
  }
  work.then(over, over)
  while (!isOver) {
    world.clock.advance(1)
    await quiet()
  }
  return work
}
