import { expect, it } from 'vitest'
import { readFact } from '../../src/billing/read-fact.ts'
import { namedFact, storedText } from '../../src/billing/stored-fact.ts'
import { UsageFact } from '../../src/billing/usage-fact.ts'
import { told } from './told.ts'

const facts = [
  told('instance.create.end', { sequence: 3 }),
  told('instance.power_off.end', { host: null, model: null, flavor: { name: '"', vcpus: null, memory_mb: null } }),
  told('instance.delete.end', { model: 'nova', terminated_at: '2026-11-02T00:00:00Z' }),
  told('instance.exists', { period: ['2026-11-01T00:00:00Z', '2026-12-01T00:00:00Z'], sequence: 7 }),
  told('instance.exists', { period: ['2026-11-01T00:00:00Z', '2026-11-01T01:00:00Z'], request_id: 'req-1' }),
].map((notification) => readFact(notification) as UsageFact)

const rowOf = (fact: UsageFact, text: string) => ({
  instance_uuid: fact.instance_uuid,
  message_id: fact.message_id,
  fact: text,
})

it.each(facts)('a fact of $event_type is read as it was stored', (fact) => {
  const row = rowOf(fact, storedText(fact))

  expect(namedFact(row)).toStrictEqual(fact)
  expect(UsageFact.parse(namedFact(row))).toStrictEqual(fact)
})

it.each(facts)('a fact of $event_type is read as releases before stored it, with names', (fact) => {
  const { instance_uuid, message_id, ...stored } = fact

  expect(namedFact(rowOf(fact, JSON.stringify(stored)))).toStrictEqual(fact)
})

it.each(['[]', '{}', '[[],[],[],[]]', '[["instance.exists"],null]', '[1,2,3,4,5]'])('%s is no fact', (text) => {
  expect(UsageFact.safeParse(namedFact(rowOf(facts[0] as UsageFact, text))).success).toBe(false)
})
