import type { UsageFact } from './usage-fact.ts'

/** A fact as the ledger keeps it. */
export interface FactRow {
  readonly instance_uuid: string
  readonly message_id: string
  readonly fact: string
}

/**
 * What is not in columns of its own, as JSON: values, without their names, which are as long again and would be stored and read with
 * each. What comes to be told of later is added at the end of a group.
 */
export function storedText({ charged, period, ...fact }: UsageFact): string {
  const { host, flavor, model, state } = charged
  return JSON.stringify([
    [fact.event_type, fact.kind, fact.at, fact.sequence],
    [fact.project_id, fact.user_id, fact.display_name],
    [host, flavor.name, flavor.vcpus, flavor.memory_mb, model, state],
    [fact.launched_at, fact.terminated_at],
    ...(period ? [[fact.told_at, period.beginning, period.ending, ...(fact.of_operation ? [true] : [])]] : []),
  ])
}

/** The same with its names, to be parsed. An earlier release has stored it so. */
export function namedFact({ instance_uuid, message_id, fact }: FactRow): Readonly<Record<string, unknown>> {
  const stored: Readonly<Record<string, unknown>> | readonly (readonly unknown[])[] = JSON.parse(fact)
  if (!isGrouped(stored)) return { ...stored, instance_uuid, message_id }
  const [what = [], whose = [], how = [], lived = [], audit] = stored
  const [event_type, kind, at, sequence] = what
  const [project_id, user_id, display_name] = whose
  const [host, name, vcpus, memory_mb, model, state] = how
  const [launched_at, terminated_at] = lived
  const charged = { host, flavor: { name, vcpus, memory_mb }, model, state }
  const told = { instance_uuid, message_id, event_type, kind, at, project_id, user_id, display_name, charged }
  const named: Record<string, unknown> = { ...told, launched_at, terminated_at }
  if (sequence !== null) named.sequence = sequence
  if (audit !== undefined) {
    named.told_at = audit[0]
    named.period = { beginning: audit[1], ending: audit[2] }
    if (audit[3] !== undefined) named.of_operation = audit[3]
  }
  return named
}

function isGrouped(stored: unknown): stored is readonly (readonly unknown[])[] {
  return Array.isArray(stored) && stored.every(Array.isArray)
}
