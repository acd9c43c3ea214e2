import { expect, it } from 'vitest'
import { SaidOnce } from '../../../src/scheduler/hosts/said-once.ts'

it('what is the same again is no news, until it was not heard of for ten minutes', () => {
  let now = 0
  const said = new SaidOnce(() => now)
  const at = (ms: number, key: string, cause: string) => {
    now = ms
    return said.isNews(key, cause)
  }

  expect([at(0, 'cn-1', 'a'), at(1, 'cn-1', 'a'), at(1, 'cn-2', 'a')]).toEqual([true, false, true])
  expect([at(2, 'cn-1', 'b'), at(3, 'cn-1', 'a')]).toEqual([true, true])
  expect([at(600_003, 'cn-1', 'a'), at(1_200_003, 'cn-1', 'a'), at(1_800_004, 'cn-1', 'a')]).toEqual([
    false,
    false,
    true,
  ])
})

it('what was mended is news when it comes again', () => {
  const said = new SaidOnce(() => 0)
  said.isNews('cn-1', 'a')

  said.mended('cn-1')

  expect([said.isNews('cn-1', 'a'), said.isNews('cn-1', 'a')]).toEqual([true, false])
})

it('of very many things the one that was not heard of for longest is forgotten', () => {
  const said = new SaidOnce(() => 0)
  for (let n = 0; n < 10_000; n++) said.isNews(`cn-${n}`, 'a')
  expect(said.isNews('cn-0', 'a')).toBe(false)

  said.isNews('one more', 'a')

  expect([said.isNews('cn-0', 'a'), said.isNews('cn-1', 'a')]).toEqual([false, true])
})
