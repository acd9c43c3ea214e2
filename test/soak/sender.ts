import { openPostgres } from '../../src/database/postgres.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { RabbitTransport } from '../../src/rpc/drivers/rabbit.ts'
import type { DeliveryHandler, ListenOptions, Source } from '../../src/rpc/transport.ts'
import { ANSWER_MS, CONNECT_MS, type Means, member, type Settings, type Work } from './member.ts'
import { Questions } from './questions.ts'
import { randomFrom } from './random.ts'
import { StoredMessages } from './stored-messages.ts'

const TICK_MS = 20
const TELL_MS = 100
/** What an outage held back is made up for as far as this. */
const MAX_BEHIND = 200
/** Of what is begun: about 7 in 10 messages are calls, 1 a cast, 2 come through the outbox. */
const PART_OF_CALLS = 0.86
const PART_OF_CASTS = 0.12

member(send)

/** Asks questions and gives orders, in all the ways there are, as fast as it is told. */
async function send(means: Means): Promise<Work> {
  const { settings, logger, tell } = means
  const { url, databaseUrl, names, name, life } = settings
  const random = randomFrom(settings.seed)
  let lastId = 0
  const newId = () => {
    means.count()
    return `${life}.${++lastId}`
  }
  const transport = new TellingTransport({ url, logger, connectionName: name, answerTimeoutMs: ANSWER_MS }, (queue) =>
    tell({ type: 'reply queue', queue }),
  )
  const database = await openPostgres({ url: databaseUrl, poolSize: 8, connectTimeoutMs: CONNECT_MS })
  const client = new RpcClient({ transport, logger, names })
  const stored = new StoredMessages(means, database, client, transport, newId)
  const questions = new Questions(means, client, random, newId)
  await transport.connect(AbortSignal.timeout(60_000))

  const begin = (): Promise<void> => {
    const which = random()
    if (which < PART_OF_CALLS) return questions.call()
    if (which < PART_OF_CALLS + PART_OF_CASTS) return questions.cast()
    return stored.store(questions.padding())
  }
  const pace = new Pace(begin, settings, () => lastId)
  const telling = setInterval(() => tell({ type: 'sent', messages: lastId, done: questions.done }), TELL_MS)
  return {
    stop: () => pace.stop(),
    async close() {
      clearInterval(telling)
      await stored.close()
      await client.close()
      await transport.close()
      await database.close()
    },
  }
}

/** Begins something new at a steady pace, as long as not too much is under way. */
class Pace {
  readonly #running = new Set<Promise<void>>()
  readonly #timer: NodeJS.Timeout

  /** @param begun how many messages there were so far */
  constructor(
    begin: () => Promise<void>,
    { messagesPerSecond, maxInFlight }: Pick<Settings, 'messagesPerSecond' | 'maxInFlight'>,
    begun: () => number,
  ) {
    const startedAt = performance.now()
    let forgiven = 0
    this.#timer = setInterval(() => {
      const due = ((performance.now() - startedAt) / 1000) * messagesPerSecond - forgiven
      // What an outage held back beyond this is not sent in one go afterwards.
      forgiven += Math.max(0, due - begun() - MAX_BEHIND)
      while (begun() < due && this.#running.size < maxInFlight) {
        const running = begin().finally(() => this.#running.delete(running))
        this.#running.add(running)
      }
    }, TICK_MS)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#running)
  }
}

/** Says by which name its reply queue goes, for the runner to delete it. */
class TellingTransport extends RabbitTransport {
  readonly #tell: (queue: string) => void

  constructor(options: ConstructorParameters<typeof RabbitTransport>[0], tell: (queue: string) => void) {
    super(options)
    this.#tell = tell
  }

  override async listen(source: Source, handler: DeliveryHandler, options: ListenOptions) {
    const listener = await super.listen(source, handler, options)
    if (source.kind === 'reply') this.#tell(source.queue)
    return listener
  }
}
