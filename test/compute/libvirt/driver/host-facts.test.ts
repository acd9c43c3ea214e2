import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { NO_FIRMWARE_FILES } from '../../../../src/compute/libvirt/domain-options.ts'
import { askLibvirt } from '../../../../src/compute/libvirt/driver/host-facts.ts'

const DATA = join(import.meta.dirname, '../../data')
const document = (name: string) => readFile(join(DATA, name), 'utf8')
const OPTIONS = { virtType: 'kvm', machineTypeOf: () => 'q35', firmwareFiles: NO_FIRMWARE_FILES, root: '/' } as const
const never = new AbortController().signal

const whole = await document('capabilities-9.0.xml')
/** As of a host on which no QEMU is installed. */
const withoutQemu = whole.replace(/<guest>[\s\S]*<\/guest>/, '')
const ofGuests = await document('domain-capabilities-9.0-sev-q35.xml')

/** A libvirt that gives these answers about its host, the last of them again and again. */
function libvirtAnswering(...answers: readonly string[]) {
  const given = [...answers]
  const connectGetCapabilities = vi.fn(async () => (given.length > 1 ? given.shift() : given[0]) as string)
  return { connectGetCapabilities, connectGetDomainCapabilities: async () => ofGuests }
}

describe('what libvirt tells of a host', () => {
  it('without the QEMU that it could not talk to is asked for once more', async () => {
    const [steady, once] = [libvirtAnswering(whole), libvirtAnswering(withoutQemu, whole)]

    const told = await askLibvirt(once, OPTIONS, never)

    expect(told).toEqual(await askLibvirt(steady, OPTIONS, never))
    expect(told.machineTypes).toContain('q35')
    expect([steady, once].map(({ connectGetCapabilities }) => connectGetCapabilities.mock.calls.length)).toEqual([1, 2])
  })

  it('is believed where it has no QEMU the second time either', async () => {
    const libvirt = libvirtAnswering(withoutQemu)

    expect(await askLibvirt(libvirt, OPTIONS, never)).toMatchObject({ machineTypes: [], documents: [] })
    expect(libvirt.connectGetCapabilities).toHaveBeenCalledTimes(2)
  })
})
