import { isIP } from 'node:net'
import { describe, expect, it } from 'vitest'
import { addressOf, ownAddress } from '../../src/compose/own-address.ts'

const HEAD = 'Iface\tDestination\tGateway \tFlags\n'
const ROUTES = `${HEAD}virbr0\t007AA8C0\t00000000\t0001\neth1\t00000000\t0102000A\t0003\n`
const lo = [{ address: '127.0.0.1', family: 'IPv4', internal: true } as const]
const virbr0 = [{ address: '192.168.122.1', family: 'IPv4', internal: false } as const]
const eth1 = [
  { address: 'fd00::5', family: 'IPv6', internal: false } as const,
  { address: '10.0.2.15', family: 'IPv4', internal: false } as const,
]

describe("a machine's own address", () => {
  it('is that of the interface of the default route', () => {
    expect(addressOf(ROUTES, { lo, virbr0, eth1 })).toBe('10.0.2.15')
  })

  it('is any that others can reach where there is no such route, IPv6 where there is nothing else', () => {
    expect(addressOf('', { lo, virbr0, eth1 })).toBe('192.168.122.1')
    expect(addressOf(HEAD, { lo, eth1: eth1.slice(0, 1) })).toBe('fd00::5')
  })

  it('is that of the machine to itself where it has no other', () => {
    expect(addressOf(ROUTES, { lo })).toBe('127.0.0.1')
  })

  it('is an address here', () => {
    expect(isIP(ownAddress())).not.toBe(0)
  })
})
