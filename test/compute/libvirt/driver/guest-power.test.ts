import { randomUUID } from 'node:crypto'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { buildDomain } from '../../../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS } from '../../../../src/compute/libvirt/domain-options.ts'
import type { DomainSpec } from '../../../../src/compute/libvirt/domain-spec.ts'
import { GuestPower } from '../../../../src/compute/libvirt/driver/guest-power.ts'
import type { OwnDomains } from '../../../../src/compute/libvirt/driver/own-domains.ts'
import { guestSpec } from '../../../../src/compute/libvirt/guest-spec.ts'
import type { Libvirt } from '../../../../src/compute/libvirt/rpc/libvirt.ts'
import { SerialPorts } from '../../../../src/compute/serial-ports.ts'
import { HypervisorUnavailable, LibvirtError } from '../../../../src/errors.ts'
import { aCapableHost } from '../../support/hosts.ts'
import { anInstance } from '../../support/instances.ts'

const never = new AbortController().signal
const UUID = '11111111-2222-4333-8444-555555555555'

/** Of a host that has the guest, with a libvirt that does what the test says. */
function powerBy(libvirt: Partial<Libvirt>): GuestPower {
  const domains = { has: async () => true } as unknown as OwnDomains
  return new GuestPower({ libvirt: libvirt as Libvirt, domains, serialPorts: {} as SerialPorts })
}

/** A call of libvirt's that ends when the test says so. */
function pending() {
  let end = () => {}
  const call = new Promise<void>((resolve) => {
    end = resolve
  })
  return { call, end }
}

describe('a guest that goes on from its saved memory', () => {
  it('and whose QEMU does not start has failed to, with what to do', async () => {
    const message = 'internal error: process exited while connecting to monitor'
    const power = powerBy({
      domainCreateWithFlags: async () => {
        throw new LibvirtError(message, { libvirt_code: 1 })
      },
    })

    await expect(power.resume(UUID, never)).rejects.toMatchObject({
      code: 'SPAWN_FAILED',
      message,
      details: {
        instance_uuid: UUID,
        libvirt_code: 1,
        fix: `look into libvirtd's log and QEMU's, /var/log/libvirt/qemu/sevbus-${UUID}.log`,
      },
    })
  })

  it('and runs already is refused in the words of libvirt', async () => {
    const refusal = new LibvirtError('Requested operation is not valid: domain is already running', {
      libvirt_code: 55,
    })
    const power = powerBy({
      domainCreateWithFlags: async () => {
        throw refusal
      },
    })

    await expect(power.resume(UUID, never)).rejects.toBe(refusal)
  })
})

describe('a guest that is to stop', () => {
  it('is told so until the last of its starts is over, though an earlier one that was given up ends before', async () => {
    const [first, second] = [pending(), pending()]
    const domainCreateWithFlags = vi.fn().mockReturnValueOnce(first.call).mockReturnValueOnce(second.call)
    const domainDestroyFlags = vi.fn(async () => {})
    const power = powerBy({ domainCreateWithFlags, domainDestroyFlags })
    const giveUp = new AbortController()
    const earlier = power.resume(UUID, giveUp.signal)
    await vi.waitFor(() => expect(domainCreateWithFlags).toHaveBeenCalledTimes(1))
    giveUp.abort(new Error('enough'))
    await expect(earlier).rejects.toThrow('enough')
    const later = power.resume(UUID, never)
    await vi.waitFor(() => expect(domainCreateWithFlags).toHaveBeenCalledTimes(2))
    first.end()
    await first.call

    const off = power.powerOff(UUID)
    await vi.waitFor(() => expect(domainDestroyFlags.mock.calls.length).toBeGreaterThan(1))
    second.end()
    await later
    await off

    expect(domainDestroyFlags).toHaveBeenLastCalledWith(UUID)
  })
})

describe('a guest that is to be removed', () => {
  it('and whose definition was never answered is removed as well when that is made after nobody has found it', async () => {
    const made = { is: false }
    const has = vi.fn(async () => {
      // By then the daemon has come to it.
      if (has.mock.calls.length === 4) made.is = true
      return made.is
    })
    const domains = { has, find: async () => undefined } as unknown as OwnDomains
    const domainUndefineFlags = vi.fn(async () => {
      made.is = false
    })
    const libvirt = {
      domainDefineXmlFlags: async () => {
        throw new HypervisorUnavailable('domainDefineXmlFlags: the connection to libvirt is lost')
      },
      domainDestroyFlags: async () => {},
      domainUndefineFlags,
    } as unknown as Libvirt
    const serialPorts = { place: async (domain: DomainSpec) => domain, release() {} } as unknown as SerialPorts
    const power = new GuestPower({ libvirt, domains, serialPorts })
    const domain = buildDomain(guestSpec(anInstance({ uuid: UUID })), aCapableHost())
    await expect(power.define(domain, never)).rejects.toThrow('lost')

    await power.destroy(UUID)

    expect(domainUndefineFlags).toHaveBeenCalledTimes(1)
    expect(made.is).toBe(false)
  })

  it.each([
    ['gave no answer at first', 0],
    ['hung before it answered', 2_000],
  ])('is looked for on a host that %s, until what a worker that died has sent would be there', async (_, answersMs) => {
    let nowMs = 0
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
    onTestFinished(() => clock.mockRestore())
    const removed = vi.fn(async () => {})
    const has = vi.fn(async () => {
      const isFirst = has.mock.calls.length === 1
      nowMs += isFirst ? answersMs : 100
      if (isFirst && answersMs === 0) throw new HypervisorUnavailable('the connection to libvirt is lost')
      return has.mock.calls.length >= 4 && removed.mock.calls.length === 0
    })
    const domains = { has, find: async () => undefined } as unknown as OwnDomains
    const libvirt = { domainDestroyFlags: async () => {}, domainUndefineFlags: removed } as unknown as Libvirt
    const power = new GuestPower({ libvirt, domains, serialPorts: { release() {} } as unknown as SerialPorts })

    await power.destroy(UUID).catch(() => power.destroy(UUID))

    expect(removed).toHaveBeenCalledTimes(1)
  })

  it('and was never defined gives the port of its serial console back', async () => {
    const domains = { has: async () => false } as unknown as OwnDomains
    const libvirt = {
      domainDefineXmlFlags: async () => {
        throw new LibvirtError('unsupported configuration', { libvirt_code: 67 })
      },
    } as unknown as Libvirt
    const serialPorts = new SerialPorts(
      async function* () {},
      async () => true,
    )
    const power = new GuestPower({ libvirt, domains, serialPorts })
    const options = {
      ...DEFAULT_DOMAIN_OPTIONS,
      serialConsole: { listen: '127.0.0.1', ports: [10_000, 10_000] },
    } as const
    const domainOf = (uuid: string) => buildDomain(guestSpec(anInstance({ uuid }), options), aCapableHost())
    await expect(power.define(domainOf(UUID), never)).rejects.toThrow('unsupported')

    await power.destroy(UUID)

    const next = await serialPorts.place(domainOf(randomUUID()), never)
    expect(next.serial.tcp?.port).toBe(10_000)
  })
})
