import { constants, open } from 'node:fs/promises'
import { type ChannelModel, type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib'
import pg from 'pg'
import { RabbitAcks } from '../../dist/rpc/drivers/rabbit-acks.js'
import { writeTogether } from '../../dist/rpc/drivers/rabbit-writes.js'
import { gathered } from '../../dist/rpc/gathered.js'

/**
 * One service of a cloud that does nothing: it takes the messages of a boot and sends those that follow, each with confirm,
 * and commits or flushes at the stations of a boot. No byte of a message is read or made.
 */
export interface FloorSettings {
  readonly amqpUrl: string
  readonly databaseUrl: string
  readonly queueType: 'quorum' | 'classic'
  readonly folder: string
  /** Of each kind of message. */
  readonly bytes: Readonly<Record<string, number>>
}

export class Floor {
  readonly #connection: ChannelModel
  readonly #channel: ConfirmChannel
  readonly #settings: FloorSettings
  readonly #queues: string[] = []
  readonly #bodies = new Map<string, Buffer>()
  readonly #waiting = new Map<string, () => void>()
  readonly replies: string

  private constructor(connection: ChannelModel, channel: ConfirmChannel, settings: FloorSettings, replies: string) {
    this.#connection = connection
    this.#channel = channel
    this.#settings = settings
    this.replies = replies
  }

  static async open(settings: FloorSettings): Promise<Floor> {
    const connection = await connect(settings.amqpUrl, { noDelay: true })
    writeTogether(connection, 'while busy')
    const channel = await connection.createConfirmChannel()
    const { queue } = await channel.assertQueue('', { exclusive: true })
    const floor = new Floor(connection, channel, settings, queue)
    await channel.consume(queue, (message) => floor.#answered(message), { noAck: true })
    return floor
  }

  send(queue: string, kind: string, id: string, replyTo?: string): Promise<void> {
    const body = this.#bodies.get(kind) ?? Buffer.alloc(this.#settings.bytes[kind] ?? 1000, 'x')
    this.#bodies.set(kind, body)
    const properties = { persistent: true, mandatory: true, type: kind, messageId: id, ...(replyTo && { replyTo }) }
    return new Promise((resolve, reject) => {
      this.#channel.publish('', this.#nameOf(queue), body, properties, (error) => (error ? reject(error) : resolve()))
    })
  }

  async call(queue: string, kind: string, id: string): Promise<void> {
    const answered = new Promise<void>((resolve) => this.#waiting.set(id, resolve))
    void this.send(queue, kind, id, this.replies)
    await answered
  }

  /** @param serve acknowledges by calling `ack` */
  async serve(queue: string, serve: (kind: string, id: string, replyTo: string, ack: () => void) => Promise<void>) {
    const name = this.#nameOf(queue)
    await this.#channel.assertQueue(name, { durable: true, arguments: { 'x-queue-type': this.#settings.queueType } })
    this.#queues.push(name)
    await this.#channel.prefetch(64)
    const acks = new RabbitAcks(this.#channel)
    await this.#channel.consume(name, (message) => {
      if (message === null) return
      acks.delivered(message)
      const { type: kind, messageId, replyTo } = message.properties
      void serve(kind, messageId, replyTo, () => acks.ack(message))
    })
  }

  async close(): Promise<void> {
    for (const queue of this.#queues) await this.#channel.deleteQueue(queue)
    await this.#connection.close()
  }

  /** Queues of one name and of different types are not to be had. */
  #nameOf(queue: string): string {
    return queue.startsWith('floor.') ? `${queue}.${this.#settings.queueType}` : queue
  }

  #answered(message: ConsumeMessage | null): void {
    const id = message?.properties.messageId
    this.#waiting.get(id)?.()
    this.#waiting.delete(id)
  }
}

const ROLES = { conductor, scheduler, compute }

async function conductor(floor: Floor, settings: FloorSettings) {
  const store = storeIn(settings)
  await floor.serve('floor.conductor', async (kind, id, replyTo, ack) => {
    if (kind === 'build_instances') {
      ack()
      await store({ id, kind: 'accepted' })
      void floor.send(replyTo, 'reply', id)
      await floor.call('floor.scheduler', 'select_destinations', id)
      await store({ id, kind: 'placed' })
      return floor.send('floor.compute', 'build_and_run_instance', id)
    }
    await store({ id, kind: 'active' })
    ack()
    await Promise.all([floor.send('floor.info', 'end', id), floor.send('floor.scheduler', 'note_build', id)])
  })
}

async function scheduler(floor: Floor, settings: FloorSettings) {
  const store = storeIn(settings)
  await floor.serve('floor.scheduler', async (kind, id, replyTo, ack) => {
    if (kind === 'select_destinations') ack()
    await store({ id, kind })
    if (kind === 'select_destinations') return floor.send(replyTo, 'selection', id)
    ack()
  })
}

async function compute(floor: Floor, { folder, bytes }: FloorSettings) {
  const { O_CREAT, O_WRONLY, O_APPEND, O_DSYNC } = constants
  const file = await open(`${folder}/floor.journal`, O_CREAT | O_WRONLY | O_APPEND | O_DSYNC)
  const line = 'x'.repeat(bytes.build_and_run_instance ?? 1000)
  const flush = gathered((lines: readonly string[]) => file.appendFile(lines.join('\n')))
  await floor.serve('floor.compute', async (_kind, id, _replyTo, ack) => {
    await flush(line)
    ack()
    void floor.send('floor.info', 'start', id)
    await flush(line)
    await floor.send('floor.conductor', 'report_build', id)
  })
}

/** One row for each, and one commit for all that come while another is under way. */
function storeIn({ databaseUrl, bytes }: FloorSettings) {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 4 })
  const body = 'x'.repeat(bytes.build_and_run_instance ?? 1000)
  return gathered(async (rows: readonly { readonly id: string; readonly kind: string }[]) => {
    const sql =
      'insert into floor (id, kind, body) select r.id, r.kind, $2 from jsonb_to_recordset($1) r (id uuid, kind text)'
    await pool.query(sql, [JSON.stringify(rows), body])
  })
}

if (process.send !== undefined) {
  process.once('message', async ({ role, settings }: { role: keyof typeof ROLES; settings: FloorSettings }) => {
    await ROLES[role](await Floor.open(settings), settings)
    process.send?.('ready')
  })
  process.once('disconnect', () => process.exit(0))
}
