import { setTimeout as sleep } from 'node:timers/promises'
import { openPostgres } from '../../src/database/postgres.ts'
import { InvalidProperty } from '../../src/errors.ts'
import type { Endpoint } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { RabbitTransport } from '../../src/rpc/drivers/rabbit.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import { doubled, OrderApi, QuestionApi } from './contract.ts'
import { ANSWER_MS, CONNECT_MS, type Means, member, type Work } from './member.ts'
import { insertEffect } from './tables.ts'

const GRACE_MS = 5_000

member(serve)

/** Answers questions and carries out orders. */
async function serve(means: Means): Promise<Work> {
  const { settings, logger } = means
  const { url, databaseUrl, names, name } = settings
  const transport = new RabbitTransport({ url, logger, connectionName: name, answerTimeoutMs: ANSWER_MS })
  const database = await openPostgres({ url: databaseUrl, poolSize: 8, connectTimeoutMs: CONNECT_MS })
  const orders: Endpoint<typeof OrderApi> = {
    async carryOut({ id }) {
      ran(means, id)
      await database.transaction((tx) => insertEffect(tx, id, settings.life))
      return null
    },
  }
  const bindings = [bind(QuestionApi, questions(means)), bind(OrderApi, orders)] as const
  const servers = bindings.map(
    (binding) => new RpcServer({ transport, logger, names, server: name, bindings: [binding] }),
  )
  for (const server of servers) await server.start()
  return {
    async close() {
      await Promise.all(servers.map((server) => server.drain(GRACE_MS)))
      await transport.close()
      await database.close()
    },
  }
}

function questions(means: Means): Endpoint<typeof QuestionApi> {
  const answer: Endpoint<typeof QuestionApi>['double'] = async ({ id, n, refuse, work_ms, padding }) => {
    ran(means, id)
    if (work_ms > 0) await sleep(work_ms)
    if (refuse) throw new InvalidProperty(`${id} is refused`, { id })
    return { id, n: doubled(n), padding }
  }
  return { double: answer, ponder: answer }
}

function ran({ ledger, count }: Means, id: string): void {
  ledger.write({ type: 'ran', id })
  count()
}
