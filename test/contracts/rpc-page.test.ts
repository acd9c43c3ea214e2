import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { isCompatible } from '../../src/rpc/version.ts'
import { CONTRACT_APIS as apis, CONTRACT_OBJECTS, STRICT_OBJECTS } from '../support/contract-objects.ts'
import { rpcMarkdown } from '../support/rpc-markdown.ts'

describe('the contracts', () => {
  it('are what docs/rpc.md says', () => {
    const page = rpcMarkdown(apis, CONTRACT_OBJECTS, STRICT_OBJECTS)
    if (process.env.UPDATE_DOCS) writeFileSync('docs/rpc.md', page)

    expect(readFileSync('docs/rpc.md', 'utf8')).toBe(page)
  })

  it('have each method once on the wire, brought by a version that the contract can serve', () => {
    for (const { version, methods } of apis) {
      const all = Object.values(methods)
      expect(new Set(all.map(({ wire }) => wire)).size).toBe(all.length)
      for (const { wire, since } of all) expect([wire, isCompatible(version, since)]).toEqual([wire, true])
    }
  })

  it('refuse arguments that they do not have', () => {
    for (const { methods } of apis) {
      for (const { input } of Object.values(methods)) expect(input.safeParse({ nonsense: 1 }).success).toBe(false)
    }
  })
})
