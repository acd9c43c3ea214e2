import { MessagingTimeout } from '../../src/errors.ts'
import type { AuditReport } from '../../src/objects/audit.ts'
import type { InstanceState } from '../../src/objects/instance.ts'
import type { RpcClient } from '../../src/rpc/client.ts'
import { isMoving, isWanted, leftBehind, type SimulatedInstance } from './instances.ts'
import type { World } from './world.ts'

/**
 * The conductor's and the hosts' words to the auditor: each instance runs where it was told, unless something about it is on
 * its way. Hosts that have vanished do not answer.
 */
export function peersFor(world: World): Pick<RpcClient, 'of'> {
  const busy = instancesOnTheirWay(world)
  const states = [...world.instances.values()].map((instance) => stateOf(instance, busy.has(instance)))
  const silent = new Set(world.hosts.filter(({ isAlive }) => !isAlive).map(({ name }) => name))
  const peers = {
    async listGuests(_context: unknown, _args: unknown, { server }: { server: string }) {
      if (silent.has(server)) throw new MessagingTimeout(`${server} does not answer`)
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

/** Something about them is asked, or to be told, or will be done because of what they were answered. */
function instancesOnTheirWay({ instances, asks, batchAsks, messages }: World): ReadonlySet<SimulatedInstance> {
  const open = messages.filter(({ state }) => state !== 'is done')
  const waiting = [...asks, ...open].map(({ instance }) => instance)
  const together = [...batchAsks].flatMap(({ members }) => members)
  const unfinished = [...instances.values()].filter((one) => {
    return leftBehind(one).length > 0 || (isWanted(one) && (isMoving(one) || !one.answers.has(one.current)))
  })
  return new Set([...waiting, ...together, ...unfinished])
}

function stateOf(instance: SimulatedInstance, isOnItsWay: boolean): InstanceState {
  const { uuid, name, current, answers } = instance
  const isDeleted = !isWanted(instance)
  const answer = isDeleted ? undefined : answers.get(current)
  const host = answer?.host ?? null
  return {
    uuid,
    name,
    vm_state: isDeleted ? 'deleted' : host === null ? 'error' : 'active',
    task_state: null,
    host,
    attempt: current,
    model: answer?.mem_encryption?.model ?? null,
    updated_at: '2026-03-01T10:00:00.000Z',
    leaving: null,
    messages_waiting: isOnItsWay,
    hosts_waiting: [],
  }
}

/** In words, to be compared whole. */
export function findingsOf({ findings }: AuditReport): readonly string[] {
  return findings.map(({ kind, host, problem }) => `${kind} on ${host}: ${problem}`)
}
