import { expect, inject, it } from 'vitest'
import { ProcessCloud } from '../../support/worker-processes.ts'
import { createSoakDatabase } from '../database.ts'
import { RIGHT, storm } from './storm.ts'

/** `npm run soak` is the long form. */
const BURSTS = 3

it('gives 15 slots to 15 of 100 claimants and the reason to 85, and after a storm of kills nothing is wrong, and each life is billed once', async () => {
  await using ledger = await createSoakDatabase(inject('databaseUrl'))
  await using cloud = await ProcessCloud.open()
  const seed = Math.floor(Math.random() * 1e6)
  const told: string[] = []

  const outcome = await storm({ cloud, ledgerUrl: ledger.url, seed, bursts: BURSTS, tell: (line) => told.push(line) })

  const { instances, kills, ...rest } = outcome
  expect(rest, `seed ${seed}\n${told.join('\n')}`).toEqual(RIGHT)
  expect(kills).toBeGreaterThanOrEqual(2 * BURSTS)
  expect(instances).toBeGreaterThan(20)
}, 180_000)
