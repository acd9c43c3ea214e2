import { describe, expect, it } from 'vitest'
import { GroupQueue } from '../../../src/scheduler/placement/group-queue.ts'

/** Groups as they were run, each ended by hand. */
function aQueue({ size = 64, inFlight = 1, alongside = 1 } = {}) {
  const groups: { readonly items: readonly string[]; end(error?: Error): void }[] = []
  const queue = new GroupQueue<string, string>(
    (items) =>
      new Promise((resolve, reject) => {
        groups.push({
          items,
          end: (error) => (error ? reject(error) : resolve(items.map((item) => item.toUpperCase()))),
        })
      }),
    { key: (item) => item[0] ?? '', size, inFlight, alongside },
  )
  return { queue, groups, items: () => groups.map((group) => group.items) }
}

/** A turn of the event loop, and the one that it asks for. */
async function turn(): Promise<void> {
  for (let n = 0; n < 2; n++) await new Promise((resolve) => setImmediate(resolve))
}

describe('a queue of groups', () => {
  it('runs what comes in one turn together, and gives each its own outcome', async () => {
    const { queue, groups, items } = aQueue()

    const outcomes = Promise.all([queue.add('a'), queue.add('b')])
    await turn()
    groups[0]?.end()

    expect(await outcomes).toEqual(['A', 'B'])
    expect(items()).toEqual([['a', 'b']])
  })

  it('gathers what comes while a group is on its way into the next', async () => {
    const { queue, groups, items } = aQueue()
    const first = queue.add('a')
    await turn()

    const others = Promise.all([queue.add('b'), queue.add('c')])
    await turn()
    expect(items()).toEqual([['a']])
    groups[0]?.end()
    await first
    await turn()
    groups[1]?.end()

    expect(await others).toEqual(['B', 'C'])
    expect(items()).toEqual([['a'], ['b', 'c']])
  })

  it('never has two of one key in a group', async () => {
    const { queue, groups, items } = aQueue()

    const outcomes = Promise.all([queue.add('a1'), queue.add('a2'), queue.add('b1')])
    await turn()
    groups[0]?.end()
    await turn()
    groups[1]?.end()

    expect(await outcomes).toEqual(['A1', 'A2', 'B1'])
    expect(items()).toEqual([['a1', 'b1'], ['a2']])
  })

  it('shares what waits among the groups that may be on their way, each of its size at most', async () => {
    const { queue, items } = aQueue({ size: 2, inFlight: 2 })

    for (const item of ['a', 'b', 'c']) void queue.add(item)
    await turn()
    void queue.add('d')
    await turn()

    expect(items()).toEqual([['a', 'b'], ['c']])
  })

  it('lets enough items go beside a group that is on its way', async () => {
    const { queue, groups, items } = aQueue({ inFlight: 2, alongside: 2 })

    for (const item of ['a', 'b', 'c']) void queue.add(item)
    await turn()
    for (const item of ['d', 'e']) void queue.add(item)
    await turn()
    void queue.add('f')
    groups[0]?.end()
    groups[1]?.end()
    await turn()

    expect(items()).toEqual([['a', 'b', 'c'], ['d', 'e'], ['f']])
  })

  it('does not let a few items wait for a group that never ends', async () => {
    const { queue, groups, items } = aQueue({ inFlight: 2, alongside: 16 })
    void queue.add('a')
    await turn()

    const others = Promise.all([queue.add('b'), queue.add('c')])
    await expect.poll(() => groups.length).toBe(2)
    groups[1]?.end()

    expect(await others).toEqual(['B', 'C'])
    expect(items()).toEqual([['a'], ['b', 'c']])
  })

  it('runs each item of a group that failed by itself: only what is broken fails', async () => {
    const { queue, groups, items } = aQueue()

    const outcomes = Promise.allSettled([queue.add('a'), queue.add('b')])
    await turn()
    groups[0]?.end(new Error('one of them is broken'))
    await turn()
    groups[1]?.end(new Error('a is'))
    await turn()
    groups[2]?.end()

    expect(await outcomes).toEqual([
      { status: 'rejected', reason: new Error('a is') },
      { status: 'fulfilled', value: 'B' },
    ])
    expect(items()).toEqual([['a', 'b'], ['a'], ['b']])
  })
})
