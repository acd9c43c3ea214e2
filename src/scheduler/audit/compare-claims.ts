import type { InstanceState } from '../../objects/instance.ts'
import { MEM_ENCRYPTION_CONTEXT, MEMORY_MB, VCPU } from '../../objects/resources.ts'
import { amounts, type Finding, type Repair, whereabouts } from './finding.ts'
import type { Evidence, HeldClaim } from './observation.ts'

/** A claim that nobody uses. Where a guest is, the claim is left to it: what is wrong then is the guest. */
export function claimFindings(evidence: Evidence, claim: HeldClaim): readonly Finding[] {
  const { host, instance } = claim
  if (!evidence.judges(host) || evidence.isChanging(instance) || evidence.guestOn(host, instance)) return []
  return leak(evidence, claim)
}

function leak(evidence: Evidence, claim: HeldClaim): readonly Finding[] {
  const instance = evidence.instances.get(claim.instance)
  // Its guest is missing, and told as that: the claim is its instance's by right.
  if (instance?.host === claim.host && instance.vm_state !== 'deleted') return []
  // Where a resized instance comes from, what it has is kept until somebody decides.
  if (instance?.leaving === claim.host && claim.migrationType !== null) return []
  const why = instance === undefined ? 'no conductor knows the instance' : `the instance ${whereabouts(instance)}`
  const common = {
    kind: 'leak',
    host: claim.host,
    uuid: claim.instance,
    instance,
    version: [claim.attempt, claim.changedAt],
    problem: `${amounts(claim.resources)} claimed for try ${claim.attempt}, but ${why}, and no guest of it is here`,
    numbers: claim.resources,
  } as const
  const reason = keptBecause(evidence, claim, instance)
  return reason === undefined
    ? [{ ...common, repair: giveBack(claim), advice: undefined }]
    : [{ ...common, repair: undefined, advice: reason }]
}

/** Why the claim must not simply be given back. */
function keptBecause(evidence: Evidence, claim: HeldClaim, instance: InstanceState | undefined): string | undefined {
  const isOver = instance === undefined || instance.vm_state === 'deleted'
  if (claim.migrationType !== null && !isOver) {
    return "a move has left it behind: its conductor asks the host again and again whether the guest is gone, and then lets go of it; sevbus explain tells how far it is, and a restart of the host's worker has it ask at once"
  }
  if (instance === undefined) return maybeOfAnother(evidence, claim)
  if (instance.host === null || instance.vm_state === 'deleted') return undefined
  if (evidence.claimsOf(claim.instance).some(({ host }) => host === instance.host)) {
    return `giving it back would take the claim on ${instance.host} along: both are the same consumer's`
  }
  if (claim.attempt < instance.attempt) return undefined
  return `it is of the try that runs on ${instance.host}: delete the instance, or build it anew, to bring both together`
}

/** A consumer that is no instance may hold what a guest here runs on: a move holds the host that it leaves. */
function maybeOfAnother(evidence: Evidence, { host }: HeldClaim): string | undefined {
  const unclaimed = evidence.unclaimedGuestsOn(host)
  if (unclaimed.length === 0) return undefined
  return `it may belong to a guest here that has no claim of its own (${unclaimed.slice(0, 3).join(', ')}): see to that first`
}

function giveBack({ consumer, migrationType, attempt, host }: HeldClaim): Repair {
  if (migrationType !== null) {
    return {
      action: 'confirm_move',
      consumer,
      migration: { uuid: consumer, type: migrationType },
      does: `gives back what the ${migrationType} holds`,
      safeBecause: `${host} answers and has no guest of it, and no move of an instance that is gone can go back`,
    }
  }
  return {
    action: 'release_allocations',
    consumer,
    attempt,
    does: `gives the claim back, and voids tries up to ${attempt}`,
    safeBecause: `${host} answers and has no guest of it; a claim of a later try would be left as it is`,
  }
}

/** An instance that runs on what nobody counts: the next claim may promise the same once more. */
export function missingClaim(evidence: Evidence, instance: InstanceState): Finding | undefined {
  const { uuid, host, vm_state, model } = instance
  if (host === null || vm_state === 'deleted' || !evidence.judges(host) || evidence.isChanging(uuid)) return undefined
  if (evidence.guestOn(host, uuid) === undefined) return undefined
  const claims = evidence.claimsOf(uuid)
  const held = Object.assign({}, ...claims.filter((claim) => claim.host === host).map(({ resources }) => resources))
  const needed = [VCPU, MEMORY_MB, ...(model === null ? [] : [MEM_ENCRYPTION_CONTEXT])]
  const missing = needed.filter((name) => held[name] === undefined)
  if (missing.length === 0) return undefined
  const elsewhere = claims.filter((claim) => claim.host !== host).map((claim) => claim.host)
  return {
    kind: 'missing_claim',
    host,
    uuid,
    instance,
    version: claims.map((claim) => [claim.host, claim.attempt, claim.changedAt]),
    problem: [
      `the guest is here, but of what it needs ${missing.join(', ')} is not claimed`,
      ...(elsewhere.length > 0 ? [`claims of it are on ${elsewhere.join(', ')}`] : []),
    ].join('; '),
    numbers: held,
    repair: undefined,
    advice: 'what it uses may be promised to others: keep new guests off this host, then delete it and build it anew',
  }
}
