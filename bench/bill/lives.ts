import { readFileSync } from 'node:fs'

/** What is told of one instance in its life, as our services tell it; five of the ten are billed by. */
const LIFE = [
  'instance-create-start',
  'slot-claimed',
  'instance-create-end',
  'instance-power_off-start',
  'instance-power_off-end',
  'instance-exists',
  'instance-exists',
  'instance-delete-start',
  'instance-delete-end',
  'slot-released',
]
const LIFE_EVENTS = LIFE.length
/** So many instances live at a time: their events come mixed, as they do from a cloud. */
const AT_A_TIME = 500

interface Sample {
  readonly payload: { 'nova_object.data': Record<string, unknown>; sevbus: Record<string, unknown> }
  readonly [key: string]: unknown
}

const samples = LIFE.map((name) =>
  JSON.parse(readFileSync(new URL(`../../docs/notifications/${name}.json`, import.meta.url), 'utf8')),
) as readonly Sample[]
const BEGIN = Date.parse('2026-11-01T00:00:00Z')
const at = (seconds: number) => `${new Date(BEGIN + seconds * 1000).toISOString().slice(0, 19)}Z`
const hex = (n: number, digits: number) => n.toString(16).padStart(digits, '0')

/** Lines of JSON, from the samples that documentation and tests hold: the nth instance of a million differs in ids, times, host. */
export function* lives(events: number): Generator<string> {
  const instances = Math.ceil(events / LIFE_EVENTS)
  let left = events
  for (let first = 0; first < instances; first += AT_A_TIME) {
    const count = Math.min(AT_A_TIME, instances - first)
    for (let step = 0; step < LIFE_EVENTS; step++) {
      for (let n = first; n < first + count && left > 0; n++, left--) yield line(n, step)
    }
  }
}

function line(n: number, step: number): string {
  const { payload, ...rest } = samples[step] as Sample
  const began = n % 86_400
  // Uuids are in no order.
  const uuid = `${hex((n * 2_654_435_761) % 2 ** 32, 8)}-8f85-4257-88b6-${hex(n, 12)}`
  const data = payload['nova_object.data']
  const hour = Math.floor((began + step * 600) / 3600) * 3600
  const isSlot = 'instance_uuid' in data
  const now = at(began + step * 600)
  return JSON.stringify({
    message_id: `${hex(step, 8)}-0000-4000-8000-${hex(n, 12)}`,
    ...rest,
    timestamp: now.replace('T', ' ').replace('Z', '.000000'),
    payload: {
      ...payload,
      'nova_object.data': {
        ...data,
        ...(isSlot ? { instance_uuid: uuid } : { uuid }),
        ...(!isSlot && { tenant_id: `project-${n % 100}`, host: `node${n % 1000}` }),
        ...(step > 1 && !isSlot && { launched_at: at(began) }),
        ...(step > 7 && !isSlot && { terminated_at: now, deleted_at: now }),
        ...(data.audit_period !== undefined && { audit_period: period(at(hour), at(hour + 3600)) }),
      },
      sevbus: { ...payload.sevbus, sequence: step + 1 },
    },
  })
}

function period(audit_period_beginning: string, audit_period_ending: string) {
  return {
    'nova_object.name': 'AuditPeriodPayload',
    'nova_object.namespace': 'nova',
    'nova_object.version': '1.0',
    'nova_object.data': { audit_period_beginning, audit_period_ending },
  }
}
