import { describe, expect, it } from 'vitest'
import { Keepalive } from '../../../../src/compute/libvirt/rpc/keepalive.ts'

describe('keepalive', () => {
  it('pings a silent connection so many times, then takes it for dead', () => {
    const keepalive = new Keepalive(2)

    expect([1, 2, 3, 4].map(() => keepalive.next())).toEqual(['ping', 'ping', 'dead', 'dead'])
  })

  it('leaves a connection alone on which something comes', () => {
    const keepalive = new Keepalive(1)

    const decisions = [1, 2, 3].map(() => {
      keepalive.heard()
      return keepalive.next()
    })

    expect(decisions).toEqual(['nothing', 'nothing', 'nothing'])
  })

  it('begins anew with every sign of life', () => {
    const keepalive = new Keepalive(1)
    keepalive.next()

    keepalive.heard()

    expect([1, 2, 3].map(() => keepalive.next())).toEqual(['nothing', 'ping', 'dead'])
  })
})
