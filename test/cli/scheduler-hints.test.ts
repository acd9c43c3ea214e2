import { describe, expect, it } from 'vitest'
import { parseHints } from '../../src/cli/scheduler-hints.ts'

describe('--hint', () => {
  it('is a key and a value, and may be repeated', () => {
    expect(parseHints(['group=web', 'different_host=db-1', 'different_host=a=b'])).toEqual([
      { key: 'group', value: 'web' },
      { key: 'different_host', value: 'db-1' },
      { key: 'different_host', value: 'a=b' },
    ])
  })

  it.each(['group', 'group=', 'query=x', ''])('%o is refused, with what to write', (word) => {
    expect(() => parseHints([word])).toThrow(
      `--hint is ${JSON.stringify(word)}, which means nothing; write --hint group=GROUP, --hint same_host=INSTANCE or --hint different_host=INSTANCE`,
    )
  })

  it('names one group at most', () => {
    expect(() => parseHints(['group=a', 'group=b'])).toThrow(
      '--hint is "group=b", the second group: an instance is in one at most',
    )
  })
})
