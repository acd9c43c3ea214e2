import { expect } from 'vitest'
import type { Instance, TaskState, VmState } from '../../../src/objects/instance.ts'
import { type ComputeWorker, HOST, request } from './compute-worker.ts'
import { activeInstance, anInstance, type InstanceChanges } from './instances.ts'

/** A guest that runs; what was told of its build is forgotten. */
export async function booted(worker: ComputeWorker, changes: InstanceChanges = {}): Promise<Instance> {
  const instance = anInstance(changes)
  await worker.manager.buildAndRunInstance({ instance }, request)
  await worker.manager.idle()
  await worker.sent()
  return { ...activeInstance(instance), host: HOST }
}

/** An instance as the conductor sends it when something is done to it. */
export function at(instance: Instance, vm_state: VmState, task_state: TaskState): Instance {
  return { ...instance, vm_state, task_state }
}

export const reported = ({ uuid, attempt }: Instance, number: number, outcome: unknown = { result: 'done' }) => ({
  method: 'report_action',
  instance_uuid: uuid,
  attempt,
  host: HOST,
  number,
  outcome,
})

export const failedWith = (code: string, guest: string) => ({
  result: 'failed',
  fault: expect.objectContaining({ code }),
  guest,
})

export async function guestOf(worker: ComputeWorker, { uuid }: Instance): Promise<string | undefined> {
  return (await worker.host.guest(uuid, new AbortController().signal))?.state
}
