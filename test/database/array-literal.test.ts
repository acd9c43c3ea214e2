import { describe, expect, it } from 'vitest'
import { plainArray, Texts, textArray } from '../../src/database/array-literal.ts'
import { databaseEngines } from '../support/databases.ts'

const TEXTS = [
  '',
  'null',
  'a,b',
  '{}',
  ' padded ',
  '"quoted"',
  "it's",
  'back\\slash',
  'two\nlines',
  '\t',
  '\u007f',
  'é 🙂',
  null,
]

describe.each(databaseEngines)('an array in the words of $name', ({ open }) => {
  it('is read as what it was, whatever is in its texts', async () => {
    await using test = await open([])

    const rows = await test.database.query(
      'select $1::text[] as texts, $2::integer[] as numbers, $3::boolean[] as answers, $4::text[] as long',
      [
        textArray(TEXTS),
        plainArray([1, -2]),
        plainArray([true, false]),
        new Texts(TEXTS.filter((text) => text !== null)),
      ],
    )

    expect(rows).toEqual([
      { texts: TEXTS, numbers: [1, -2], answers: [true, false], long: TEXTS.filter((text) => text !== null) },
    ])
  })

  it('may be empty', async () => {
    await using test = await open([])

    const rows = await test.database.query('select $1::text[] as texts, $2::integer[] as numbers, $3::text[] as long', [
      textArray([]),
      plainArray([]),
      new Texts([]),
    ])

    expect(rows).toEqual([{ texts: [], numbers: [], long: [] }])
  })
})
