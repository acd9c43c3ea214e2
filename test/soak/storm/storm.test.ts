import { expect, inject, it } from 'vitest'
import { ProcessCloud } from '../../support/worker-processes.ts'
import { startSoakBroker } from '../broker.ts'
import { createSoakDatabase } from '../database.ts'
import { Line } from '../line.ts'
import { RIGHT, storm } from './storm.ts'

/** `npm run soak` is the long form. */
const BURSTS = 1

it('gives 15 slots to 15 of 100 claimants and the reason to 85, and after a storm of kills nothing is wrong, and each stretch of each life is billed once', async () => {
  await using ledger = await createSoakDatabase(inject('databaseUrl'))
  // Of its own, for it is killed; where none can be started that of the run serves, and lives on.
  await using broker = await startSoakBroker()
  await using line = broker && (await Line.to(() => broker.url))
  await using cloud = await ProcessCloud.open(line?.through(broker?.url ?? ''))
  const seed = Math.floor(Math.random() * 1e6)
  const told: string[] = []

  const outcome = await storm({
    cloud,
    restartBroker: broker && (() => broker.restart('SIGKILL')),
    ledgerUrl: ledger.url,
    seed,
    bursts: BURSTS,
    tell: (news) => told.push(news),
  })

  const { instances, kills, moves, shelvings, brokerKills, ...rest } = outcome
  expect(rest, `seed ${seed}\n${told.join('\n')}`).toEqual(RIGHT)
  expect(kills).toBeGreaterThanOrEqual(4 * BURSTS)
  expect(brokerKills).toBe(broker === undefined ? 0 : 1)
  expect(Math.min(moves.arrived, moves.reverted), told.join('\n')).toBeGreaterThan(0)
  expect(Math.min(shelvings.offloaded, shelvings.returned), told.join('\n')).toBeGreaterThan(0)
  expect(instances).toBeGreaterThan(1)
}, 180_000)
