import { describe, expect, it } from 'vitest'
import { MAX_PAGE_BYTES, pageOf, pages } from '../../src/rpc/page.ts'

describe('a page', () => {
  it('has all that fits into a reply, in its order', () => {
    expect(pageOf([3, 1, 2])).toEqual([3, 1, 2])
    expect(pageOf([])).toEqual([])
  })

  it('ends before what does not fit', () => {
    const third = 'x'.repeat(MAX_PAGE_BYTES / 3)

    expect(pageOf([third, third, third, 'y'])).toHaveLength(2)
  })

  it('has one thing at least, or nobody could go on after it', () => {
    const large = 'é'.repeat(MAX_PAGE_BYTES)

    expect(pageOf([large, 'y'])).toEqual([large])
  })
})

describe('pages that are asked for', () => {
  it('are each after the last of the one before, until one is empty, and only while they are taken', async () => {
    const list = ['a', 'b', 'c']
    const asked: (string | undefined)[] = []
    const ask = async ({ marker }: { readonly marker?: string }) => {
      asked.push(marker)
      const from = marker === undefined ? 0 : list.indexOf(marker) + 1
      return list.slice(from, from + 2)
    }
    const got: (readonly string[])[] = []

    for await (const page of pages(ask, (letter) => letter)) got.push(page)
    for await (const _ of pages(ask, (letter) => letter)) break

    expect(got).toEqual([['a', 'b'], ['c']])
    expect(asked).toEqual([undefined, 'b', 'c', undefined])
  })
})
