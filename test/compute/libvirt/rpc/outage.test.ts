import { describe, expect, it } from 'vitest'
import { Outage } from '../../../../src/compute/libvirt/rpc/outage.ts'
import { HypervisorUnavailable } from '../../../../src/errors.ts'

describe('an outage of the daemon', () => {
  it('is told once for all connections, another reason of it only when it lasts, and its end when all are back', () => {
    const told: string[] = []
    let nowMs = 0
    const outage = new Outage({
      onTrouble: ({ message }) => told.push(message),
      onEnd: () => told.push('back'),
      patienceMs: 5000,
      now: () => nowMs,
    })
    const [a, b] = [{}, {}]
    outage.back(a)

    outage.lost(a, new HypervisorUnavailable('closed'))
    outage.lost(b, new HypervisorUnavailable('closed'))
    outage.lost(a, new HypervisorUnavailable('refused'))
    nowMs = 5000
    outage.lost(a, new HypervisorUnavailable('not permitted'))
    outage.lost(b, new HypervisorUnavailable('not permitted'))
    outage.back(a)
    outage.back(b)
    outage.lost(b, new HypervisorUnavailable('closed'))

    expect(told).toEqual(['closed', 'not permitted', 'back', 'closed'])
  })
})
