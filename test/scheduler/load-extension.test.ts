import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadFilters, loadWeighers } from '../../src/scheduler/load-extension.ts'
import { aHost, aRequest } from './builders.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sevbus-extension-'))
  const modules = {
    'filter.mjs': `export default { name: 'Few', reject: (host) => host.instances > 5 ? 'too many' : undefined }`,
    'weigher.mjs': `export default { name: 'Short', factor: -1, weigh(host) { return this.factor * host.host.length } }`,
    'heavy.mjs': `export default { name: 'Heavy', multiplier: 'much', weigh: () => 0 }`,
    'nothing.mjs': `export const filter = {}`,
    'nameless.mjs': `export default {}`,
    'odd.mjs': `export default { name: 'Odd', reject: ({ host }) => ({ a: false, b: 'no', c: '' })[host] }`,
    'async.mjs': `export default { name: 'Late', fix: 'mend it', async reject() { return undefined } }`,
    'throws.mjs': `export default { name: 'Sick', reject() { throw new Error('boom') }, weigh() { throw new Error('boom') } }`,
    'words.mjs': `export default { name: 'Words', reject: () => 'y'.repeat(9999), weigh: ({ host }) => ({ a: 1, b: '2' })[host] }`,
    'own.mjs': `export default { name: 'Own', word: 'x', concern() { return this.word }, reject() {}, weigh: () => 1 }`,
    'broken.mjs': `throw new Error('at home')`,
  }
  await Promise.all(Object.entries(modules).map(([name, text]) => writeFile(join(folder, name), text)))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe("a user's own filters and weighers", () => {
  it('are loaded from the modules that the configuration names', async () => {
    const [filter] = await loadFilters(['./filter.mjs'], folder, () => {})
    const [weigher] = await loadWeighers([join(folder, 'weigher.mjs')], '/elsewhere', () => {})

    expect(filter?.reject(aHost('cn-1', { state: { instances: 6 } }), aRequest())).toBe('too many')
    expect(weigher).toMatchObject({ name: 'Short', multiplier: 1 })
    expect(weigher?.weigh(aHost('cn-1'), aRequest())).toBe(-4)
  })

  it.each([
    ['nothing.mjs', 'has no default export that is an object'],
    ['nameless.mjs', 'is no filter: it has no name'],
    ['weigher.mjs', 'is no filter: Short has no function reject(host, request)'],
    ['broken.mjs', 'cannot be loaded: at home'],
  ])('are refused as a filter when %s %s', async (path, problem) => {
    await expect(loadFilters([path], folder, () => {})).rejects.toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: `scheduler.extra_filters: ${path} ${problem}`,
    })
  })

  it.each([
    ['nameless.mjs', 'is no weigher: it has no name'],
    ['filter.mjs', 'is no weigher: Few has no function weigh(host, request)'],
    ['heavy.mjs', 'is no weigher: the multiplier of Heavy is not a number'],
  ])('are refused as a weigher when %s %s', async (path, problem) => {
    await expect(loadWeighers([path], folder, () => {})).rejects.toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: `scheduler.extra_weighers: ${path} ${problem}`,
    })
  })

  it('are refused when there is no such module', async () => {
    await expect(loadFilters(['gone.mjs'], folder, () => {})).rejects.toMatchObject({
      message: expect.stringContaining('scheduler.extra_filters: gone.mjs cannot be loaded'),
    })
  })

  it('reject the hosts where they fail or answer no reason, and say how', async () => {
    const told: string[] = []
    const paths = ['odd.mjs', 'async.mjs', 'throws.mjs', 'words.mjs']
    const filters = await loadFilters(paths, folder, (name, failure) => told.push(`${name}: ${failure}`))
    const answers = ['a', 'b', 'c', 'd', 'a'].map((host) => filters[0]?.reject(aHost(host), aRequest()))

    const must = 'it must give a text or undefined, not'
    expect(answers).toEqual([
      `the filter itself failed: ${must} false`,
      'no',
      `the filter itself failed: ${must} an empty text`,
      undefined,
      `the filter itself failed: ${must} false`,
    ])
    const [late, sick, words] = filters.slice(1).map((filter) => filter.reject(aHost('a'), aRequest()))
    expect([late, sick, words?.length]).toEqual([
      `the filter itself failed: ${must} a promise`,
      'the filter itself failed: Error: boom',
      500,
    ])
    expect(filters.map(({ fix }) => fix)).toEqual([
      'see what Odd looks at, or take it out of scheduler.extra_filters',
      'mend it',
      'see what Sick looks at, or take it out of scheduler.extra_filters',
      'see what Words looks at, or take it out of scheduler.extra_filters',
    ])
    expect(told).toEqual([
      `Odd: ${must} false`,
      `Odd: ${must} an empty text`,
      `Late: ${must} a promise`,
      'Sick: Error: boom',
    ])
  })

  it('know nothing of the hosts where they fail to weigh, and say so once', async () => {
    const told: string[] = []
    const tell = (name: string, failure: string) => told.push(`${name}: ${failure}`)
    const weighers = await loadWeighers(['throws.mjs', 'words.mjs'], folder, tell)

    const weights = ['a', 'b', 'b'].map((host) => weighers.map((weigher) => weigher.weigh(aHost(host), aRequest())))
    expect(weights).toEqual([
      [Number.NaN, 1],
      [Number.NaN, Number.NaN],
      [Number.NaN, Number.NaN],
    ])
    expect(told).toEqual(['Sick: Error: boom', 'Words: it must give a number, not 2'])
  })

  it('keep what they tell requests apart by', async () => {
    const extensions = [
      ...(await loadFilters(['own.mjs'], folder, () => {})),
      ...(await loadWeighers(['own.mjs'], folder, () => {})),
    ]

    expect(extensions.map((extension) => extension.concern?.(aRequest()))).toEqual(['x', 'x'])
  })
})
