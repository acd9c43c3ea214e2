import type { AuditReport } from '../../src/objects/audit.ts'
import type { InstanceState } from '../../src/objects/instance.ts'
import type { RpcClient } from '../../src/rpc/client.ts'
import type { SimulatedInstance } from './instances.ts'

/** The conductor's and the hosts' words to the auditor, when nothing is on its way: each instance runs where it was told. */
export function peersFor(instances: readonly SimulatedInstance[]): Pick<RpcClient, 'of'> {
  const states = instances.map(stateOf)
  const peers = {
    async listGuests(_context: unknown, _args: unknown, { server }: { server: string }) {
      const here = states.filter(({ host }) => host === server)
      const guests = here.map(({ uuid, model, attempt }) => {
        return { uuid, state: 'running', model, attempt, over: false, work: null }
      })
      return { guests, busy: 0, keys: null }
    },
    async listInstanceStates(_context: unknown, { uuids, marker }: { uuids?: string[]; marker?: string }) {
      if (marker !== undefined) return { instances: [] }
      return { instances: states.filter(({ uuid, vm_state }) => uuids?.includes(uuid) ?? vm_state !== 'deleted') }
    },
  }
  return { of: () => peers } as unknown as Pick<RpcClient, 'of'>
}

function stateOf({ uuid, name, tries, answers, gaveBackThrough }: SimulatedInstance): InstanceState {
  const isDeleted = gaveBackThrough >= tries
  const answer = isDeleted ? undefined : answers.get(tries)
  const host = answer?.host ?? null
  return {
    uuid,
    name,
    vm_state: isDeleted ? 'deleted' : host === null ? 'error' : 'active',
    task_state: null,
    host,
    attempt: tries,
    model: answer?.mem_encryption?.model ?? null,
    updated_at: '2026-03-01T10:00:00.000Z',
    messages_waiting: false,
    hosts_waiting: [],
  }
}

/** In words, to be compared whole. */
export function findingsOf({ findings }: AuditReport): readonly string[] {
  return findings.map(({ kind, host, problem }) => `${kind} on ${host}: ${problem}`)
}
