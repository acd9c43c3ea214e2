import { isDeepStrictEqual } from 'node:util'
import { holds } from './capacity.ts'
import { isWanted, lastMove, type SimulatedInstance, type SimulatedMove } from './instances.ts'
import { slotsInUse, TRAIT_OF } from './suitable-hosts.ts'
import type { AllocationRow, ConsumerRow, Tables } from './tables.ts'
import { must } from './violation.ts'
import { GROUPS, type Group, type Wish } from './wishes.ts'

/**
 * What must hold after every step, by the tables alone and by what was asked for.
 *
 * @param before as the tables were before the last step
 * @throws Violation
 */
export function checkTables(before: Tables, now: Tables, instances: ReadonlyMap<string, SimulatedInstance>): void {
  const had = ownedBy(before)
  const known = new Set(before.allocations.map((row) => nameOf(row, had)))
  const has = ownedBy(now)
  const added = now.allocations.filter((row) => !known.has(nameOf(row, has)))
  checkInventories(now, added)
  const heldBy = (uuid: string) => now.allocations.filter(({ consumer }) => consumer === uuid)
  for (const consumer of now.consumers) {
    if (consumer.instance === null) checkConsumer(now, consumer, heldBy(consumer.uuid), instances)
    else checkHold(now, consumer, heldBy(consumer.uuid), instances)
  }
  for (const instance of instances.values()) checkNotLost(instance, heldBy)
  for (const { host } of now.hosts) checkMode(now, host)
  for (const group of GROUPS) checkGroup(group, now, instances)
}

/** Instances by who holds for them: themselves, and their moves. */
function ownedBy({ consumers }: Tables): ReadonlyMap<string, string> {
  return new Map(consumers.map(({ uuid, instance }) => [uuid, instance ?? uuid]))
}

/** A host runs guests of SEV-ES or of SEV-SNP, whatever it reports. */
function checkMode(tables: Tables, host: string): void {
  const [es, snp] = [slotsInUse(tables, host, 'amd-sev-es'), slotsInUse(tables, host, 'amd-sev-snp')]
  must(es === 0 || snp === 0, () => `${host} has ${es} slots of SEV-ES and ${snp} of SEV-SNP in use`)
}

function checkGroup(
  { uuid, policy }: Group,
  { consumers }: Tables,
  instances: ReadonlyMap<string, SimulatedInstance>,
): void {
  if (policy !== 'affinity' && policy !== 'anti-affinity') return
  // Who went back to where a move had left room for him is not asked.
  const isMember = ({ wish, current, tries }: SimulatedInstance) => wish.group?.uuid === uuid && current === tries
  const members = consumers.filter((one) => {
    const instance = one.host === null ? undefined : instances.get(one.uuid)
    return instance !== undefined && isMember(instance)
  })
  const hosts = new Set(members.map(({ host }) => host))
  must(policy === 'affinity' ? hosts.size <= 1 : hosts.size === members.length, () => {
    return `members of the group of ${policy} are on ${members.map(({ host }) => host).join(', ')}`
  })
}

/** A move takes over what its instance had: that is nothing new. */
function nameOf(row: AllocationRow, owners: ReadonlyMap<string, string>): string {
  const { consumer, provider, resource_class, amount, pinned } = row
  return [owners.get(consumer) ?? consumer, provider, resource_class, amount, pinned].join(' ')
}

/** What is used is what is allocated; nothing new is given of what has not enough, or is offered no more. */
function checkInventories({ inventories, allocations }: Tables, added: readonly AllocationRow[]): void {
  for (const inventory of inventories) {
    const { provider, resource_class, used, pinned, offered } = inventory
    const isOf = (row: AllocationRow) => row.provider === provider && row.resource_class === resource_class
    const rows = allocations.filter(isOf)
    const sum = { used: total(rows), pinned: total(rows.filter((row) => row.pinned)) }
    const name = `${resource_class} of ${provider}`
    must(used === sum.used && pinned === sum.pinned, () => {
      return `${name} has ${used} used and ${pinned} pinned, but ${sum.used} and ${sum.pinned} are allocated`
    })
    must(!added.some(isOf) || (offered && holds(inventory)), () => {
      const { total, reserved, allocation_ratio } = inventory
      const has = `${total} in all, ${reserved} reserved, ratio ${allocation_ratio}, ${offered ? 'offered' : 'not offered'}`
      return `${name} was given out with ${used} used, ${pinned} of it pinned, of ${has}`
    })
  }
  const stocked = new Set(inventories.map((row) => `${row.provider} ${row.resource_class}`))
  const astray = allocations.find((row) => !stocked.has(`${row.provider} ${row.resource_class}`))
  must(astray === undefined, () => `an allocation has no inventory: ${JSON.stringify(astray)}`)
}

function checkConsumer(
  tables: Tables,
  { uuid, attempt, void_through, host }: ConsumerRow,
  held: readonly AllocationRow[],
  instances: ReadonlyMap<string, SimulatedInstance>,
): void {
  must((host === null) === (held.length === 0), () => `consumer ${uuid} is on ${host} with ${held.length} allocations`)
  if (host === null) return
  const instance = instances.get(uuid)
  must(instance !== undefined, () => `consumer ${uuid} holds something on ${host}, and nobody asked for it`)
  const { name, wish, tries, voidedThrough } = instance
  must(attempt <= tries, () => `${name} holds a claim of try ${attempt}, and was asked for ${tries} times`)
  must(attempt > void_through && attempt > voidedThrough, () => {
    return `${name} holds a claim of try ${attempt}, but tries up to ${Math.max(void_through, voidedThrough)} are void`
  })
  checkHeld(tables, host, held, wish, name)
}

/** A move holds all that its instance had on one host, for as long as it is open, or finished and not confirmed. */
function checkHold(
  tables: Tables,
  { uuid, host, instance: of, migration_status }: ConsumerRow,
  held: readonly AllocationRow[],
  instances: ReadonlyMap<string, SimulatedInstance>,
): void {
  const instance = instances.get(of ?? '')
  must(instance !== undefined, () => `nobody moved ${of}, whom ${uuid} is of`)
  const { name, wish } = instance
  const isHeld = host !== null
  const mayHold = migration_status === 'open' || migration_status === 'finished'
  must(isHeld === held.length > 0 && isHeld === mayHold, () => {
    return `the move ${uuid} of ${name} is ${migration_status} and holds ${held.length} allocations on ${host}`
  })
  if (host !== null) checkHeld(tables, host, held, wish, `the move of ${name}`)
}

/** All that the wish takes on one host, no more, and one slot of a model that was asked for. */
function checkHeld(tables: Tables, host: string, held: readonly AllocationRow[], wish: Wish, name: string): void {
  const [slots, root] = partition(held, ({ resource_class }) => resource_class === 'MEM_ENCRYPTION_CONTEXT')
  const ofRoot = Object.fromEntries(root.map((row) => [row.resource_class, row.amount]))
  must(isDeepStrictEqual(ofRoot, wish.takes) && root.every(({ provider }) => provider === host), () => {
    return `${name} (${wish.name}) on ${host} holds ${JSON.stringify(root)}`
  })
  const pinned = root.filter((row) => row.pinned).map(({ resource_class }) => resource_class)
  must(isDeepStrictEqual(pinned, wish.pins ? ['MEMORY_MB'] : []), () => `${name} (${wish.name}) has pinned ${pinned}`)
  must(slots.length === (wish.models.length > 0 ? 1 : 0), () => `${name} (${wish.name}) has ${slots.length} slots`)
  for (const { provider, amount } of slots) {
    const pool = tables.providers.find((one) => one.name === provider)
    const isAskedFor = wish.models.some((model) => pool?.traits.includes(TRAIT_OF[model]))
    must(pool?.host === host && amount === 1 && isAskedFor, () => {
      return `${name} (${wish.name}) on ${host} has ${amount} slots of ${JSON.stringify(pool)}`
    })
  }
}

type HeldBy = (uuid: string) => readonly AllocationRow[]

/** Who was told that it has a claim has it, until it gives it back or asks for another. */
function checkNotLost(instance: SimulatedInstance, heldBy: HeldBy): void {
  const { uuid, name, answers, current } = instance
  const answer = answers.get(current)
  const has = named(heldBy(uuid))
  const mayBeElsewhere = lastMove(instance)?.state === 'is being reverted'
  if (isWanted(instance) && answer !== undefined && !mayBeElsewhere) {
    const claimed = named(answer.allocations)
    must(isDeepStrictEqual(claimed, has), () => `${name} was told ${claimed.join(', ')} and has ${has.join(', ')}`)
  }
  for (const move of new Set(instance.moves.values()))
    checkMove(instance, move, has, named(heldBy(move.migration.uuid)))
}

/** Who moves has what it comes from besides, until its move is over. */
function checkMove(
  instance: SimulatedInstance,
  { migration, source, state, mayBeFree }: SimulatedMove,
  has: readonly string[],
  holds: readonly string[],
): void {
  const kept = named(source.allocations)
  const isHeld = isDeepStrictEqual(holds, kept)
  const what = () =>
    `the ${migration.type} of ${instance.name} from ${source.host} ${state}, and holds ${holds.join(', ') || 'nothing'}`
  must(isHeld || holds.length === 0, () => `${what()} instead of ${kept.join(', ')}`)
  const mayBeLeft = migration.type === 'evacuation' && !isWanted(instance)
  if (state === 'confirmed') must(!isHeld, what)
  else if (state === 'reverted') must(!isHeld || mayBeLeft, what)
  else if (state === 'is being finished' || state === 'finished') must(isHeld || mayBeFree, what)
  else if (state !== 'is being confirmed' && isWanted(instance)) {
    must(isHeld || isDeepStrictEqual(has, kept), () => `${what()}; the instance has ${has.join(', ') || 'nothing'}`)
  }
}

function named(
  rows: readonly { readonly provider: string; readonly resource_class: string; readonly amount: number }[],
): readonly string[] {
  return rows.map((one) => `${one.provider} ${one.resource_class} ${one.amount}`).toSorted()
}

function total(rows: readonly AllocationRow[]): number {
  return rows.reduce((sum, { amount }) => sum + amount, 0)
}

function partition<T>(items: readonly T[], isFirst: (item: T) => boolean): readonly [readonly T[], readonly T[]] {
  return [items.filter(isFirst), items.filter((item) => !isFirst(item))]
}
