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
    'broken.mjs': `throw new Error('at home')`,
  }
  await Promise.all(Object.entries(modules).map(([name, text]) => writeFile(join(folder, name), text)))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe("a user's own filters and weighers", () => {
  it('are loaded from the modules that the configuration names', async () => {
    const [filter] = await loadFilters(['./filter.mjs'], folder)
    const [weigher] = await loadWeighers([join(folder, 'weigher.mjs')], '/elsewhere')

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
    await expect(loadFilters([path], folder)).rejects.toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: `scheduler.extra_filters: ${path} ${problem}`,
    })
  })

  it.each([
    ['nameless.mjs', 'is no weigher: it has no name'],
    ['filter.mjs', 'is no weigher: Few has no function weigh(host, request)'],
    ['heavy.mjs', 'is no weigher: the multiplier of Heavy is not a number'],
  ])('are refused as a weigher when %s %s', async (path, problem) => {
    await expect(loadWeighers([path], folder)).rejects.toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: `scheduler.extra_weighers: ${path} ${problem}`,
    })
  })

  it('are refused when there is no such module', async () => {
    await expect(loadFilters(['gone.mjs'], folder)).rejects.toMatchObject({
      message: expect.stringContaining('scheduler.extra_filters: gone.mjs cannot be loaded'),
    })
  })
})
