import { ConductorApi } from '../conductor/rpc-api.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { type ComputePorts, type StopSignals, timestamp } from './compute-ports.ts'
import { queued } from './journal/journal.ts'
import { removeLeftovers } from './leftovers.ts'

/** Takes terminations that the journal has from begun to ended. */
export class Terminator {
  readonly #ports: ComputePorts
  readonly #signals: StopSignals

  constructor(ports: ComputePorts, signals: StopSignals) {
    this.#ports = ports
    this.#signals = signals
  }

  /** Ends in the journal, unless the worker stops: nothing else interrupts it. */
  async terminate(uuid: string): Promise<void> {
    const { journal, outbox, logger } = this.#ports
    const begun = journal.termination(uuid)
    if (begun === undefined) return
    try {
      await removeLeftovers(uuid, begun.context, this.#ports, this.#signals.stopping, begun.keeps_disks_aside)
    } catch (error) {
      if (this.#signals.stopping.aborted) return
      throw error
    }
    // Read again: what began in silence may have been asked for aloud meanwhile.
    const termination = journal.termination(uuid)
    if (termination === undefined) return
    const { instance, context } = termination
    const { attempt } = instance
    const at = timestamp(this.#ports)
    const { migration_uuid } = termination
    const report = this.terminated(context, uuid, attempt, at, migration_uuid)
    const messages = termination.void && migration_uuid === undefined ? [] : [report]
    await journal.append([{ type: 'terminate_ended', uuid, attempt, at, void: termination.void }, queued(messages)])
    outbox.announce()
    const facts = { instance_uuid: uuid, attempt, void: termination.void, request_id: context.request_id }
    logger.info(facts, 'guest removed')
  }

  /** @param migrationUuid of the move that has left the guest here; the instance lives on */
  terminated(
    context: RequestContext,
    uuid: string,
    attempt: number,
    at: string,
    migrationUuid?: string,
  ): DurableMessage {
    const { host, client } = this.#ports
    const ofMove = migrationUuid === undefined ? {} : { migration_uuid: migrationUuid }
    const args = { instance_uuid: uuid, attempt, host, terminated_at: at, ...ofMove }
    return client.message(ConductorApi, 'reportTerminated', context, args, { orderingKey: uuid })
  }
}
