import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'amqplib'
import { type BusNames, topicOf } from '../../src/rpc/names.ts'
import type { SoakBroker } from './broker.ts'
import { OrderApi, QuestionApi } from './contract.ts'
import type { CrewMember } from './crew.ts'
import type { DeletedQueue, Fault } from './schedule.ts'

/** Lets faults happen; those of one member, or of the broker, one after the other. */
export class Faults {
  readonly #broker: SoakBroker
  readonly #crew: ReadonlyMap<string, CrewMember>
  readonly #names: BusNames
  readonly #latest = new Map<string, Promise<void>>()

  constructor(broker: SoakBroker, crew: readonly CrewMember[], names: BusNames) {
    this.#broker = broker
    this.#crew = new Map(crew.map((member) => [member.name, member]))
    this.#names = names
  }

  /** Resolves when it is over: whoever was killed works again, lines are well, the broker answers. */
  happen(fault: Fault): Promise<void> {
    const key = 'who' in fault ? fault.who : 'broker'
    const happening = (this.#latest.get(key) ?? Promise.resolve()).then(() => this.#carryOut(fault))
    this.#latest.set(key, happening)
    return happening
  }

  async #carryOut(fault: Fault): Promise<void> {
    switch (fault.kind) {
      case 'restart broker':
        return await this.#broker.restart(fault.signal)
      case 'delete queue':
        return await this.#delete(fault.queue)
      case 'kill':
        return await this.#member(fault.who).killAndBegin()
      case 'reset':
        return this.#member(fault.who).line.reset()
      case 'half-open':
        return this.#member(fault.who).line.halfOpen(fault.left)
      case 'stall':
      case 'slow': {
        const { line } = this.#member(fault.who)
        line[fault.kind]()
        await sleep(fault.forMs)
        return line.recover()
      }
      default:
        return fault satisfies never
    }
  }

  async #delete(deleted: DeletedQueue): Promise<void> {
    const queue = this.#nameOf(deleted)
    // A sender that has called nobody yet has none.
    if (queue === undefined) return
    const connection = await connect(this.#broker.url)
    const channel = await connection.createChannel()
    await channel.deleteQueue(queue)
    await connection.close()
  }

  #nameOf(deleted: DeletedQueue): string | undefined {
    switch (deleted.of) {
      case 'questions':
        return topicOf(this.#names, QuestionApi)
      case 'questions to':
        return `${topicOf(this.#names, QuestionApi)}.${deleted.who}`
      case 'orders to':
        return `${topicOf(this.#names, OrderApi)}.${deleted.who}`
      case 'replies to':
        return this.#member(deleted.who).replyQueue
      default:
        return deleted satisfies never
    }
  }

  #member(name: string): CrewMember {
    const member = this.#crew.get(name)
    if (member === undefined) throw new Error(`nobody in the crew is called ${name}`)
    return member
  }
}
