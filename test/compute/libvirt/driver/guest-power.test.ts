import { describe, expect, it, vi } from 'vitest'
import { GuestPower } from '../../../../src/compute/libvirt/driver/guest-power.ts'
import type { OwnDomains } from '../../../../src/compute/libvirt/driver/own-domains.ts'
import type { Libvirt } from '../../../../src/compute/libvirt/rpc/libvirt.ts'
import type { SerialPorts } from '../../../../src/compute/serial-ports.ts'
import { LibvirtError } from '../../../../src/errors.ts'

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
