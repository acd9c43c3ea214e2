import { describe, expect, it } from 'vitest'
import { mostTogether } from '../../src/scheduler/room-together.ts'
import { aHost, aRequest } from './builders.ts'

describe('how many instances a host can have at most', () => {
  it('is what its scarcest resource has room for', () => {
    const host = aHost('cn-1', { vcpus: 8, memoryMb: 4096 })

    expect(mostTogether(host, [aRequest({ vcpus: 1, memoryMb: 1024 })])).toBe(4)
    expect(mostTogether(host, [aRequest({ vcpus: 4, memoryMb: 1024 })])).toBe(2)
    expect(mostTogether(host, [aRequest({ vcpus: 9, memoryMb: 1024 })])).toBe(0)
  })

  it('is no more than it has slots, of all models that will do', () => {
    const host = aHost('cn-1', { slots: { 'amd-sev': 2, 'amd-sev-es': 1 } })
    const [sev, es, snp] = (['amd-sev', 'amd-sev-es', 'amd-sev-snp'] as const).map((model) => aRequest({ model }))
    if (!sev || !es || !snp) throw new Error('three models')

    expect(mostTogether(host, [sev])).toBe(2)
    expect(mostTogether(host, [sev, es])).toBe(3)
    expect(mostTogether(host, [snp])).toBe(0)
    expect(mostTogether(host, [snp, sev])).toBe(2)
  })
})
