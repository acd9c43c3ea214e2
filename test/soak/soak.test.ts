import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, inject, it, onTestFinished } from 'vitest'
import { notRun } from '../servers/not-run.ts'
import { audit } from './auditor.ts'
import { startSoakBroker } from './broker.ts'
import { createSoakDatabase } from './database.ts'
import { report } from './report.ts'
import { soak } from './soak.ts'

const MEGABYTE = 1024 * 1024
/**
 * A short run beside others: what grows is mostly code being compiled, and there is no quiet end to see everybody come back
 * in. The long one (`npm run soak`) is held to more.
 */
const LIMITS = { slackMs: 2_000, growthBytes: 12 * MEGABYTE, recoveryMs: Number.POSITIVE_INFINITY, answeredPart: 0.4 }

it('loses nothing, does nothing twice and hangs nowhere while everything breaks', async ({ skip }) => {
  await using broker = await startSoakBroker()
  if (broker === undefined) {
    const why = 'RabbitMQ is not installed and no Docker engine answers: the one that was named must not be restarted'
    notRun({ name: 'the soak', why, how: 'apt-get install rabbitmq-server' })
    return skip(why)
  }
  await using database = await createSoakDatabase(inject('databaseUrl'))
  const folder = await mkdtemp(join(tmpdir(), 'sevbus-soak-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const seed = Math.floor(Math.random() * 1e6)
  const told: string[] = []

  const result = await soak({
    broker,
    databaseUrl: database.url,
    folder,
    seed,
    messages: 3_000,
    messagesPerSecond: 400,
    maxInFlight: 64,
    senders: 2,
    servers: 2,
    listeners: 1,
    disturbedPart: 0.5,
    quietMs: 0,
    moreFaults: 0,
    tell: (line) => told.push(line),
  })

  const violations = audit(result.evidence, LIMITS)
  expect(violations, `seed ${seed}\n${told.join('\n')}\n${report(result)}`).toEqual([])
  expect(result.messages).toBeGreaterThanOrEqual(3_000)
}, 300_000)
