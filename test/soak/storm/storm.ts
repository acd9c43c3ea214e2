import { setTimeout as sleep } from 'node:timers/promises'
import { newRequestContext, type SevbusClient } from '../../../src/client.ts'
import { anImage } from '../../support/requests.ts'
import type { RunningCloud } from '../../support/running-cloud.ts'
import { waitFor } from '../../support/wait-for.ts'
import { disagreements } from './agree.ts'
import { billDisagrees } from './biller.ts'
import { StormCrew } from './crew.ts'
import { FreeInstances } from './free-instances.ts'
import { Moves } from './moves.ts'
import { type Boot, type Burst, CALM, HOST_NAMES, planOf } from './plan.ts'
import { type RushOutcome, rush } from './rush.ts'

const CLAIMANTS = 100
const context = newRequestContext({ project_id: 'p', user_id: 'u' })
/** Who is killed does not answer. */
const PATIENCE = { timeoutMs: 10_000 }
/** What a killed conductor was just sending is another's after the outbox's lease of 15 s. */
const SETTLE = { timeoutMs: 120_000, intervalMs: 200 }
const IMAGE = anImage({ hw_firmware_type: 'uefi', hw_machine_type: 'q35', hw_firmware_stateless: true })

export interface StormOptions {
  readonly cloud: RunningCloud
  /** Kills the cloud's own broker, and resolves when it is back; absent: it is somebody's, and lives on. */
  readonly restartBroker?: (() => Promise<void>) | undefined
  /** An empty database, for the bill. */
  readonly ledgerUrl: string
  readonly seed: number
  readonly bursts: number
  readonly tell: (line: string) => void
}

export interface StormOutcome {
  readonly rush: RushOutcome
  readonly kills: number
  /** Instances that were asked for. */
  readonly instances: number
  /** Of them, resizes and migrations that had arrived when somebody decided; and those that went back. */
  readonly moves: { readonly arrived: number; readonly reverted: number }
  /** Those that were put away, and those that came back. */
  readonly shelvings: { readonly offloaded: number; readonly returned: number }
  readonly brokerKills: number
  readonly deadlocks: number
  /** A line for each thing that is wrong. */
  readonly wrong: readonly string[]
}

const FULL = HOST_NAMES.map((host) => `${host}: 5 of 5 SEV slots used, 0 reserved`).join('; ')
/** What must come of 100 claimants, and of all else. */
export const RIGHT: Omit<StormOutcome, 'kills' | 'instances' | 'moves' | 'shelvings' | 'brokerKills'> = {
  rush: { won: { h1: 5, h2: 5, h3: 5 }, refusals: { [`NO_VALID_HOST: ${FULL}`]: 85 } },
  deadlocks: 0,
  wrong: [],
}

/**
 * Many claimants at once for few slots; then bursts of boots, resizes, migrations, shelvings and deletions while workers of every
 * kind are killed from outside, who writes the bill, and the broker. When all is at rest everything must agree, and in the end, with everything deleted, nothing be
 * left, and each life be billed once, to the second.
 */
export async function storm(options: StormOptions): Promise<StormOutcome> {
  const { cloud, restartBroker, ledgerUrl, seed, bursts, tell } = options
  const crew = new StormCrew(cloud, ledgerUrl)
  await crew.start()
  const client = await cloud.client({ hosts: HOST_NAMES.length })
  const outcome = await rush(client, CLAIMANTS)
  tell(`${CLAIMANTS} claimants for 15 slots: ${JSON.stringify(outcome.won)}`)
  // Releases are casts.
  await waitFor(async () => {
    const left = await cloud.count('allocations')
    if (left > 0) throw new Error(`${left} allocations were not given back`)
  }, SETTLE)
  const wrong = [...(await disagreements(cloud.database))]

  const moves = new Moves(new FreeInstances(cloud), client)
  let brokerKills = 0
  for (const [n, burst] of planOf(seed, bursts).entries()) {
    for (const move of [...burst.moves, ...burst.shelvings]) moves.begin(move)
    const broker = async () => {
      if (restartBroker === undefined || burst.brokerAfterMs === undefined) return
      await sleep(burst.brokerAfterMs)
      await crew.restartBroker(restartBroker)
      brokerKills++
      tell('the broker was killed, and is back')
    }
    await Promise.all([blow(burst, client, crew), broker()])
    tell(`burst ${n + 1} of ${bursts}: killed ${burst.kills.map(({ worker }) => worker).join(', ')}`)
  }
  // So many may have been deleted before anybody moved them.
  const asked = planOf(seed, bursts).at(-1)
  const spare = (asked?.moves.length ?? 0) + (asked?.shelvings.length ?? 0)
  await client.conductor.buildInstances(context, { ...CALM.boot, name: 'spare', image: IMAGE, count: spare })
  wrong.push(...(await moves.ended()))
  await client.conductor.buildInstances(context, { ...CALM.boot, image: IMAGE, count: 2 })
  moves.begin(CALM.move)
  moves.begin(CALM.shelving)
  wrong.push(...(await moves.ended()))
  await atRest(cloud)
  tell(`at rest: ${JSON.stringify(await states(cloud))}`)
  wrong.push(...(await auditBy(cloud)), ...(await disagreeAtLast(cloud)), ...crew.deserters)

  await deleteAll(cloud, client)
  await atRest(cloud)
  wrong.push(...(await disagreeAtLast(cloud)), ...(await billedInTheEnd(ledgerUrl, cloud)))
  const left = await cloud.count('allocations')
  if (left > 0) wrong.push(`${left} allocations are left, and no instance`)
  const { kills } = crew
  return {
    ...{ rush: outcome, kills, brokerKills, wrong },
    instances: await cloud.count('instances'),
    moves: {
      arrived: await cloud.count('migrations where arrived_at is not null'),
      reverted: await cloud.count(`migrations where arrived_at is not null and status = 'reverted'`),
    },
    shelvings: {
      offloaded: await cloud.count(`build_attempts where outcome = 'shelved'`),
      returned: await cloud.count(
        `build_attempts t where outcome = 'active' and exists (select from build_attempts s
          where s.instance_uuid = t.instance_uuid and s.outcome = 'shelved' and s.attempt < t.attempt)`,
      ),
    },
    deadlocks: await deadlocks(cloud),
  }
}

async function blow({ boots, deletes, kills }: Burst, { conductor }: SevbusClient, crew: StormCrew): Promise<void> {
  const boot = async ({ name, flavor, count, together, afterMs }: Boot) => {
    await sleep(afterMs)
    const asked = { name, flavor, image: IMAGE, count, ...(together && { min_count: count }) }
    await conductor.buildInstances(context, asked, PATIENCE)
  }
  const deleteSome = async () => {
    await sleep(deletes.afterMs)
    const { instances } = await conductor.listInstances(context, {}, PATIENCE)
    const some = instances.slice(0, Math.floor(instances.length * deletes.part))
    await Promise.allSettled(
      some.map(({ uuid }) => conductor.deleteInstance(context, { instance_uuid: uuid }, PATIENCE)),
    )
  }
  const killed = Promise.all(kills.map(({ worker, afterMs }) => sleep(afterMs).then(() => crew.kill(worker))))
  await Promise.allSettled([...boots.map(boot), deleteSome()])
  await killed
}

/** Nothing is being built or deleted, and no message waits. */
async function atRest(cloud: RunningCloud): Promise<void> {
  await waitFor(async () => {
    const moving = await cloud.count(`instances where vm_state = 'building' or task_state is not null`)
    const leaving = await cloud.count(`migrations where status not in ('completed', 'failed', 'reverted')`)
    const waiting = await cloud.count('outbox')
    const all = `${moving} instances are changing, ${leaving} have left something behind, ${waiting} messages wait`
    if (moving + leaving + waiting > 0) throw new Error(all)
  }, SETTLE)
}

async function deleteAll(cloud: RunningCloud, { conductor }: SevbusClient): Promise<void> {
  const rows = await cloud.database.query<{ uuid: string }>(`select uuid from instances where vm_state <> 'deleted'`)
  await Promise.all(rows.map(({ uuid }) => conductor.deleteInstance(context, { instance_uuid: uuid })))
  await waitFor(async () => {
    const left = await cloud.count(`instances where vm_state <> 'deleted'`)
    if (left > 0) throw new Error(`${left} instances are left`)
  }, SETTLE)
}

/** The biller is behind by what it is just reading. */
function billedInTheEnd(ledgerUrl: string, cloud: RunningCloud): Promise<readonly string[]> {
  return wrongAtLast(() => billDisagrees(ledgerUrl, cloud.database))
}

/** A scheduler may be at what has just left the outbox. */
function disagreeAtLast({ database }: RunningCloud): Promise<readonly string[]> {
  return wrongAtLast(() => disagreements(database))
}

/** @returns what is wrong although there was time */
async function wrongAtLast(find: () => Promise<readonly string[]>): Promise<readonly string[]> {
  let wrong: readonly string[] = []
  const check = async () => {
    wrong = await find()
    if (wrong.length > 0) throw new Error(wrong[0])
  }
  await waitFor(check, SETTLE).catch(() => {})
  return wrong
}

/** As an operator asks. */
async function auditBy(cloud: RunningCloud): Promise<readonly string[]> {
  const audit = cloud.start(['audit', '--settle', '1'])
  const code = await audit.exited()
  return code === 0 ? [] : [`sevbus audit ended with ${code}:\n${audit.output}`]
}

async function deadlocks({ database }: RunningCloud): Promise<number> {
  const [row] = await database.query<{ deadlocks: number }>(
    'select deadlocks::int as deadlocks from pg_stat_database where datname = current_database()',
  )
  return row?.deadlocks ?? Number.NaN
}

async function states({ database }: RunningCloud): Promise<Readonly<Record<string, number>>> {
  const rows = await database.query<{ vm_state: string; count: number }>(
    'select vm_state, count(*)::int as count from instances group by vm_state order by vm_state',
  )
  return Object.fromEntries(rows.map(({ vm_state, count }) => [vm_state, count]))
}
