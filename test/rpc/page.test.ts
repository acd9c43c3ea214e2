import { describe, expect, it } from 'vitest'
import { MAX_PAGE_BYTES, pageOf } from '../../src/rpc/page.ts'

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
