import type { GuestReport } from '../../objects/guest-report.ts'
import type { InstanceState } from '../../objects/instance.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { type Finding, type Repair, whereabouts } from './finding.ts'
import type { Evidence, HostLook, SeenGuest } from './observation.ts'

/** Each guest of a host, held against what its conductor says of it. */
export function guestFindings(evidence: Evidence, host: string, look: HostLook): readonly Finding[] {
  if (!look.answered || !evidence.judges(host)) return []
  return look.guests.flatMap((guest) => guestFinding(evidence, { host, guest }) ?? [])
}

function guestFinding(evidence: Evidence, seen: SeenGuest): Finding | undefined {
  const { host, guest } = seen
  const uuid = guest.uuid.toLowerCase()
  const instance = evidence.instances.get(uuid)
  if (instance === undefined) return strange(evidence, seen)
  // What its conductor has to say to this host has not left yet: that may be its end.
  if (evidence.isChanging(uuid) || instance.hosts_waiting.includes(host)) return undefined
  // Where a resized instance comes from, its guest is off and kept until somebody decides.
  if (instance.leaving === host && instance.host !== host && guest.state === 'shutoff') return undefined
  return instance.host === host && instance.vm_state !== 'deleted'
    ? flawed(instance, seen)
    : surplus(evidence, instance, seen)
}

/** No conductor has ever heard of it: somebody else's, or ours of before the database that there is now. */
function strange(evidence: Evidence, { host, guest }: SeenGuest): Finding | undefined {
  const uuid = guest.uuid.toLowerCase()
  if (guest.work !== null) return undefined
  const isOurs = guest.attempt !== null || evidence.claimsOf(uuid).some((claim) => claim.host === host)
  const common = { host, uuid, instance: undefined, version: versionOf(guest), numbers: {}, repair: undefined } as const
  if (!isOurs) {
    const key = guest.model === null ? '' : `; it holds a key for ${label(guest.model)} that no claim counts`
    return {
      ...common,
      kind: 'foreign_guest',
      problem: `a guest that is not ours (${guest.state}, ${label(guest.model)})${key}`,
      advice:
        'it is left alone; keep what it takes from what the host offers (compute.reserved_host_memory_mb, compute.num_memory_encrypted_guests and its like), or end it by the means of the hypervisor',
    }
  }
  const built = guest.attempt === null ? 'claimed here' : `built here as try ${guest.attempt}`
  return {
    ...common,
    kind: 'ghost',
    problem: `a guest (${guest.state}, ${label(guest.model)}) that was ${built}, but no conductor knows the instance`,
    advice:
      "was the conductor's database restored? Find out whose it is before you remove it by the hypervisor's means",
  }
}

/** What the guest of an instance that rests on its host does; undefined: nobody knows. */
function guestOf({ vm_state }: InstanceState): keyof typeof ADVICE | undefined {
  if (vm_state === 'active' || vm_state === 'rescued') return 'running'
  if (vm_state === 'paused') return 'paused'
  return vm_state === 'stopped' || vm_state === 'suspended' ? 'shutoff' : undefined
}

const ADVICE = {
  running: 'its disk is there: start it by the means of the hypervisor, or delete the instance and build it anew',
  paused: 'its owner does not know it: unpause it, or start it anew with sevbus reboot --hard',
  shutoff: 'its owner does not know that it runs: power it off by the means of the hypervisor',
} as const

/** It is where it belongs. Is it as it should be? */
function flawed(instance: InstanceState, { host, guest }: SeenGuest): Finding | undefined {
  const { uuid } = instance
  const common = { host, uuid, instance, version: versionOf(guest), numbers: {}, repair: undefined } as const
  const expected = guestOf(instance)
  if (expected !== undefined && guest.state !== expected) {
    return {
      ...common,
      kind: 'missing_guest',
      problem: `the instance ${whereabouts(instance)}, but its guest is ${guest.state}`,
      advice: ADVICE[expected],
    }
  }
  if (guest.model === instance.model) return undefined
  return {
    ...common,
    kind: 'wrong_encryption',
    problem: `asked for ${label(instance.model)}, and its guest runs ${guest.model === null ? 'in clear' : `with ${label(guest.model)}`}`,
    advice: 'do not trust this guest: tell its owner, delete it and build it anew; somebody has changed it on the host',
  }
}

/** The instance is somewhere else, or nowhere. */
function surplus(evidence: Evidence, instance: InstanceState, seen: SeenGuest): Finding {
  const { host, guest } = seen
  const current = instance.vm_state === 'deleted' ? null : instance.host
  const isDouble = current !== null && runsOn(evidence, current, instance.uuid)
  const common = {
    kind: isDouble ? 'double' : 'ghost',
    host,
    uuid: instance.uuid,
    instance,
    version: versionOf(guest),
    problem: isDouble
      ? `a second guest of it is here (${describe(guest)}); the instance ${whereabouts(instance)}, and runs there`
      : `a guest of it is still here (${describe(guest)}), but the instance ${whereabouts(instance)}`,
    numbers: {},
  } as const
  const reason = current === null || isDouble ? undefined : onlyCopy(evidence, instance, current)
  const repair = reason === undefined ? removal(instance, seen, current) : undefined
  const advice =
    reason ?? (repair ? undefined : 'remove it by the means of the hypervisor: its try looks like the one that runs')
  return { ...common, repair, advice }
}

function runsOn(evidence: Evidence, host: string, uuid: string): boolean {
  return evidence.guestOn(host, uuid)?.guest.state === 'running'
}

/** Why this one must stay: it may be all that is left of the instance. */
function onlyCopy(evidence: Evidence, { name }: InstanceState, current: string): string {
  return evidence.answered(current)
    ? `no guest of it runs on ${current}: this may be all that is left of ${name}; decide which one is to live`
    : `${current} did not answer: whether it runs there is not known; audit again when that host is back`
}

/**
 * Its host removes it in silence, as it does with a try that has lost its claim. The try must be one that the host still
 * takes: after an end that its journal has, a repeat of that end does nothing, so it has to be the next one.
 *
 * @returns undefined when that would be a try that the instance may still come to live under
 */
function removal(instance: InstanceState, { host, guest }: SeenGuest, current: string | null): Repair | undefined {
  const attempt = guest.over
    ? Math.max(instance.attempt, (guest.attempt ?? 0) + 1)
    : (guest.attempt ?? instance.attempt)
  if (current !== null && attempt > instance.attempt) return undefined
  return {
    action: 'terminate_instance',
    host,
    attempt,
    does: 'has the host destroy the guest with its disks, without telling anybody',
    safeBecause:
      current === null
        ? `the instance ${whereabouts(instance)}: nothing of it is to run anywhere`
        : `the instance runs on ${current}, where its conductor has it`,
  }
}

/** An instance that should run on a judged host, and has no guest there at all. */
export function missingGuest(evidence: Evidence, instance: InstanceState): Finding | undefined {
  const { uuid, host, vm_state } = instance
  if (host === null || vm_state === 'deleted' || !evidence.judges(host) || evidence.isChanging(uuid)) return undefined
  if (evidence.guestOn(host, uuid) !== undefined) return undefined
  const others = evidence.guestsOf(uuid).map((seen) => seen.host)
  const where = others.length > 0 ? `; a guest of it is on ${others.join(', ')}` : ''
  return {
    kind: 'missing_guest',
    host,
    uuid,
    instance,
    version: [],
    problem: `the instance ${whereabouts(instance)}, but the host has no guest of it${where}`,
    numbers: {},
    repair: undefined,
    advice: 'tell its owner; sevbus delete gives its claim back, then boot it anew',
  }
}

function describe({ state, model, attempt }: GuestReport): string {
  const origin = attempt === null ? "not built by this host's worker" : `of try ${attempt}`
  return `${state}, ${label(model)}, ${origin}`
}

function versionOf({ state, model, attempt, over }: GuestReport): readonly unknown[] {
  return [state, model, attempt, over]
}

function label(model: MemEncryptionModel | null): string {
  return model === null ? 'in clear' : MEM_ENCRYPTION_MODELS[model].label
}
