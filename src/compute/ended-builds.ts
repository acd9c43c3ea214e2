import { type BuildReport, ConductorApi } from '../conductor/rpc-api.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import { gathered } from '../rpc/gathered.ts'
import { inParts } from '../rpc/in-parts.ts'
import { newMessageId } from '../rpc/message-id.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { type ComputePorts, timestamp } from './compute-ports.ts'
import { queued } from './journal/journal.ts'
import type { Build } from './journal/state.ts'

type Ports = Pick<ComputePorts, 'host' | 'journal' | 'outbox' | 'client' | 'now'>

/** While many guests come to run: so long the first of them waits for others, which go into the journal and to the conductor with it. */
const WORTH_A_MESSAGE = { enough: 16, waitMs: 5 }
/** Reports in one message, at most. */
const MAX_TOGETHER = 100

/** Tells conductors of guests that run: of many in one message, where whoever has ordered them takes that. */
export class EndedBuilds {
  readonly #ports: Ports
  readonly #end: (ended: Ended) => Promise<void>

  constructor(ports: Ports) {
    this.#ports = ports
    this.#end = gathered((ended) => this.#write(ended), WORTH_A_MESSAGE)
  }

  /**
   * Resolves when journal and outbox have it.
   * @returns whether the build was the instance's still, and has ended
   */
  async run(build: Build): Promise<boolean> {
    const ended: Ended = { build, launchedAt: timestamp(this.#ports), isWritten: false }
    await this.#end(ended)
    return ended.isWritten
  }

  async #write(all: readonly Ended[]): Promise<void> {
    const { journal, outbox } = this.#ports
    // Newer work that came at the last moment finds the guest, and removes it.
    const ended = all.filter(({ build }) => this.#isCurrent(build))
    if (ended.length === 0) return
    const ends = ended.map(({ build: { instance } }) => {
      const { uuid, attempt } = instance
      return { type: 'build_ended', uuid, attempt, outcome: 'active' } as const
    })
    for (const one of ended) one.isWritten = true
    await journal.append([...ends, queued(this.#messagesOf(ended))])
    outbox.announce()
  }

  #isCurrent({ instance: { uuid, attempt } }: Build): boolean {
    return this.#ports.journal.build(uuid)?.instance.attempt === attempt
  }

  #messagesOf(ended: readonly Ended[]): readonly DurableMessage[] {
    const { client } = this.#ports
    const servers = [...new Set(ended.flatMap(({ build }) => serverOf(build) ?? []))]
    const groups = servers.flatMap((server) => {
      const itsOwn = ended.filter(({ build }) => serverOf(build) === server)
      return inParts(itsOwn, MAX_TOGETHER).map((group) => ({ server, group }))
    })
    const many = groups.filter(({ group }) => group.length > 1)
    const together = new Set(many.flatMap(({ group }) => group))
    const alone = ended.filter((one) => !together.has(one))
    return [
      ...alone.map((one) => reportMessage(client, one.build.context, this.#reportOf(one))),
      ...many.map(({ server, group }) => {
        const [{ build }] = group as [Ended]
        const reports = group.map((one) => this.#reportOf(one))
        const orderingKey = `builds/${newMessageId()}`
        return client.message(ConductorApi, 'reportBuilds', build.context, { reports }, { server, orderingKey })
      }),
    ]
  }

  #reportOf({ build: { instance }, launchedAt }: Ended): BuildReport {
    const { uuid, attempt } = instance
    const outcome = { result: 'active', launched_at: launchedAt } as const
    return { instance_uuid: uuid, attempt, host: this.#ports.host, outcome }
  }
}

interface Ended {
  readonly build: Build
  readonly launchedAt: string
  isWritten: boolean
}

/** Of one build by itself. */
export function reportMessage(client: Ports['client'], context: RequestContext, report: BuildReport): DurableMessage {
  return client.message(ConductorApi, 'reportBuild', context, report, { orderingKey: report.instance_uuid })
}

/** Who takes it together with others. What belongs to a trace goes by itself, for its spans are of one request. */
function serverOf({ reports_to, context }: Build): string | undefined {
  return context.traceparent === undefined ? reports_to : undefined
}
