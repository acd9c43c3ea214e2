import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { isPassedOver } from '../../src/billing/passed-over.ts'
import { isBilled } from '../../src/billing/read-fact.ts'

const FOLDER = 'docs/notifications'
const samples = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.json'))
  .map((name) => JSON.parse(readFileSync(`${FOLDER}/${name}`, 'utf8')) as { readonly event_type: string })
const passedOver = (line: string) => isPassedOver(Buffer.from(line))

it('of all that is told exactly what nothing is billed by is passed over, however its JSON is spaced', () => {
  expect(samples.length).toBeGreaterThan(50)
  const wrong = samples.filter((sample) =>
    [JSON.stringify(sample), `${pythonJson(sample)}\r`].some((line) => passedOver(line) === isBilled(sample)),
  )

  expect(wrong).toEqual([])
})

it('nothing is passed over that is billed by, be its type said twice, in escaped letters, or where nobody looks for it', () => {
  const type = fc.constantFrom('instance.exists', 'instance.create.start', 'instance.update', 'a', 'a"b', null)
  const key = fc.constantFrom('event_type', 'event_type', 'event_type"', 'payload', '__proto__', '\\', 'é')
  const value = fc.letrec((tie) => ({
    any: fc.oneof({ depthSize: 'small' }, type, fc.constantFrom('event_type', '"event_type"', '\u2028'), tie('object')),
    object: fc.array(fc.tuple(key, tie('any')), { maxLength: 4 }).map((entries) => ({ entries })),
  })).object
  const spelling = fc.record({
    space: fc.constantFrom('', ' ', '\t'),
    escaped: fc.oneof(fc.constant([]), fc.array(fc.boolean(), { maxLength: 20 })),
  })

  let over = 0
  fc.assert(
    fc.property(value, spelling, (object, spelt) => {
      const line = written(object, spelt)
      if (!passedOver(line)) return
      over += 1
      expect(isBilled(JSON.parse(line))).toBe(false)
    }),
    { numRuns: 2000 },
  )
  expect(over).toBeGreaterThan(10)
})

it.each([
  '',
  '7',
  '{}',
  '{"event_type":"instance.create.start"',
  '["event_type"]',
  ' {"event_type":"a"}',
  '{"event_type":null}',
])('%j is for somebody else to read', (line) => {
  expect(passedOver(line)).toBe(false)
})

interface Entries {
  readonly entries: readonly (readonly [string, unknown])[]
}

/** JSON that says keys as often as they come, with letters escaped here and there. */
function written(value: unknown, spelling: { readonly space: string; readonly escaped: readonly boolean[] }): string {
  const { space, escaped } = spelling
  const text = (said: string) => {
    const letter = (each: string, n: number) =>
      escaped[n] === true ? `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}` : JSON.stringify(each).slice(1, -1)
    return `"${[...said].map(letter).join('')}"`
  }
  if (typeof value === 'string') return text(value)
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const pairs = (value as Entries).entries.map(
    ([key, each]) => `${text(key)}${space}:${space}${written(each, spelling)}`,
  )
  return `{${pairs.join(`,${space}`)}}`
}

/** As `json.dumps` spaces it. */
function pythonJson(value: unknown): string {
  return JSON.stringify(value, undefined, 1).replaceAll(/\n\s*/g, ' ')
}
