import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { isActing, refuseAction, ruleOf, stateAfterFailure } from '../../src/objects/action-rules.ts'
import { canBecome, type Instance, VmState } from '../../src/objects/instance.ts'
import type { InstanceAction } from '../../src/objects/instance-action.ts'
import { anInstance } from '../compute/support/instances.ts'

const ACTIONS: readonly InstanceAction[] = [
  { name: 'start' },
  { name: 'stop', clean_shutdown: true },
  { name: 'reboot', reboot_type: 'SOFT' },
  { name: 'reboot', reboot_type: 'HARD' },
  { name: 'pause' },
  { name: 'unpause' },
  { name: 'suspend' },
  { name: 'resume' },
  { name: 'attach_volume', volume: { volume_id: randomUUID(), path: '/srv/data.raw', bus: 'scsi' } },
  { name: 'detach_volume', volume_id: randomUUID() },
  { name: 'attach_interface', interface: { mac: 'fa:16:3e:00:00:06', source: null, ip_address: null } },
  { name: 'detach_interface', mac: 'fa:16:3e:00:00:06' },
  { name: 'snapshot', image: anInstance().image },
  { name: 'rescue', image: anInstance().image },
  { name: 'unrescue' },
]

const resting = (vm_state: VmState): Instance => ({ ...anInstance(), vm_state, task_state: null, host: 'h1' })

function refusal(instance: Instance, action: InstanceAction): string | undefined {
  try {
    refuseAction(instance, action)
    return undefined
  } catch (error) {
    return (error as Error).message.replace(instance.uuid, 'U')
  }
}

describe('the actions of an instance', () => {
  it('begin from the states that Nova lets them begin from, and end where the table of states allows it', () => {
    const allowed = ACTIONS.flatMap((action) =>
      VmState.options
        .filter((vm_state) => refusal(resting(vm_state), action) === undefined)
        .map((from) => `${ruleOf(action).task}: ${from} → ${ruleOf(action).becomes ?? from}`),
    )

    expect(allowed).toEqual([
      'powering-on: stopped → active',
      'powering-off: active → stopped',
      'powering-off: error → stopped',
      'rebooting: active → active',
      'rebooting_hard: active → active',
      'rebooting_hard: paused → active',
      'rebooting_hard: suspended → active',
      'rebooting_hard: stopped → active',
      'rebooting_hard: error → active',
      'pausing: active → paused',
      'unpausing: paused → active',
      'suspending: active → suspended',
      'resuming: suspended → active',
      ...[
        ...['attaching-volume', 'detaching-volume', 'attaching-interface', 'detaching-interface', 'image_snapshot'],
      ].flatMap((task) => [`${task}: active → active`, `${task}: paused → paused`, `${task}: stopped → stopped`]),
      'rescuing: active → rescued',
      'rescuing: stopped → rescued',
      'rescuing: error → rescued',
      'unrescuing: rescued → active',
    ])
    for (const action of ACTIONS) {
      const { from, becomes } = ruleOf(action)
      expect(from.filter((state) => !canBecome(state, becomes ?? state))).toEqual([])
    }
  })

  it.each([
    [{ vm_state: 'active' }, 'instance U is active: start needs an instance that is stopped, on a host, and at rest'],
    [{ task_state: 'powering-off' }, /^instance U is stopped and busy \(powering-off\): start needs/],
    [{ task_state: 'deleting' }, /^instance U is being deleted: start needs/],
    [{ vm_state: 'deleted', host: null }, /^instance U is deleted: start needs/],
    [{ host: null }, /^instance U is stopped and on no host: start needs/],
  ] as const)(
    'are refused for an instance with %j in words that say what is and what would have to be',
    (changes, text) => {
      expect(refusal({ ...resting('stopped'), ...changes }, { name: 'start' })).toMatch(text)
    },
  )

  it('are refused of an encrypted guest, by its model, where QEMU could not do them, in whatever state it is', () => {
    const encrypted = ACTIONS.flatMap((action) => {
      const instance = { ...resting('stopped'), mem_encryption: anInstance({ model: 'amd-sev-es' }).mem_encryption }
      const said = refusal(instance, action)
      return said?.includes('SEV') ? [said] : []
    })

    expect(encrypted).toEqual(['operation suspend is not supported for instance U: it has SEV-ES'])
  })

  it('give way to a hard reboot, all but a stop and a start', () => {
    const hard = { name: 'reboot', reboot_type: 'HARD' } as const
    const givingWay = ACTIONS.map((action) => ruleOf(action).task).filter(
      (task_state) => refusal({ ...resting('active'), task_state }, hard) === undefined,
    )

    expect(givingWay).toEqual([
      ...['rebooting', 'pausing', 'unpausing', 'suspending', 'resuming'],
      ...['attaching-volume', 'detaching-volume', 'attaching-interface', 'detaching-interface'],
    ])
  })

  it('have task states of their own, by which an instance is known to be at one', () => {
    const tasks = ACTIONS.map((action) => ruleOf(action).task)

    expect(new Set(tasks).size).toBe(ACTIONS.length)
    const stages = ACTIONS.flatMap((action) => ruleOf(action).stages ?? [])
    expect(stages).toEqual(['image_pending_upload', 'image_uploading'])
    expect([...tasks, ...stages].every((task_state) => isActing({ task_state }))).toBe(true)
    expect([null, 'spawning', 'rebuilding', 'deleting'] as const).not.toSatisfy(
      (others: readonly Instance['task_state'][]) => others.some((task_state) => isActing({ task_state })),
    )
  })

  it('leave an instance, when they fail, where it was, unless its guest does something else', () => {
    const restsAfter = (before: VmState) =>
      (['running', 'paused', 'shutoff', 'crashed', 'missing'] as const).map((guest) => stateAfterFailure(before, guest))

    expect(restsAfter('active')).toEqual(['active', 'error', 'error', 'error', 'error'])
    expect(restsAfter('paused')).toEqual(['active', 'paused', 'error', 'error', 'error'])
    expect(restsAfter('suspended')).toEqual(['active', 'error', 'suspended', 'error', 'error'])
    expect(restsAfter('stopped')).toEqual(['active', 'error', 'stopped', 'error', 'error'])
    expect(restsAfter('error')).toEqual(['active', 'error', 'error', 'error', 'error'])
  })
})
