import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS } from '../../src/compute/libvirt/domain-options.ts'
import { definitionOf } from '../../src/compute/libvirt/driver/definition.ts'
import { movedXml } from '../../src/compute/libvirt/driver/moved-xml.ts'
import { guestSpec } from '../../src/compute/libvirt/guest-spec.ts'
import { SerialPorts } from '../../src/compute/serial-ports.ts'
import { aCapableHost } from './support/hosts.ts'
import { anInstance } from './support/instances.ts'

const never = new AbortController().signal
const uuidOf = (n: number) => `99999999-0000-4000-8000-00000000000${n}`
const OPTIONS = { ...DEFAULT_DOMAIN_OPTIONS, serialConsole: { listen: '127.0.0.1', ports: [10_000, 10_002] } } as const
const domainOf = (n: number) => buildDomain(guestSpec(anInstance({ uuid: uuidOf(n) }), OPTIONS), aCapableHost())

/** Ports where these guests are defined already, and somebody else listens on these. */
function portsOn(taken: Set<number>, defined: Readonly<Record<string, string>> = {}) {
  const guests = async function* () {
    for (const [uuid, xml] of Object.entries(defined)) yield { uuid, xml }
  }
  return new SerialPorts(guests, async (_, port) => !taken.has(port))
}

const portOf = async (ports: SerialPorts, n: number, starts = false) =>
  (await ports.place(domainOf(n), never, starts)).serial.tcp?.port

describe('ports of serial consoles', () => {
  it('are one for each guest, which keeps it; what others listen on is left out, also by those that ask at once', async () => {
    const ports = portsOn(new Set([10_000]))

    const given = await Promise.all([portOf(ports, 1), portOf(ports, 2)])

    expect(given.toSorted()).toEqual([10_001, 10_002])
    expect([await portOf(ports, 1), await portOf(ports, 2)]).toEqual(given)
  })

  it('are read from the documents of guests that are there already', async () => {
    const before = await portsOn(new Set([10_000])).place(domainOf(1), never)
    const ports = portsOn(new Set(), { [uuidOf(1)]: definitionOf(before).xml, foreign: '<domain/>' })

    expect([await portOf(ports, 2), await portOf(ports, 1), await portOf(ports, 3)]).toEqual([10_000, 10_001, 10_002])
  })

  it('are changed for another when a guest starts and somebody else has taken its own', async () => {
    const taken = new Set<number>()
    const ports = portsOn(taken)
    await portOf(ports, 1)

    taken.add(10_000)

    expect([await portOf(ports, 1), await portOf(ports, 1, true), await portOf(ports, 1)]).toEqual([
      10_000, 10_001, 10_001,
    ])
  })

  it('end with a refusal that says what to change, and begin again when a guest is gone', async () => {
    const ports = portsOn(new Set([10_001, 10_002]))
    await portOf(ports, 1)

    await expect(portOf(ports, 2)).rejects.toMatchObject({
      code: 'HOST_CAPABILITY_MISSING',
      details: { fix: 'widen compute.serial_console_port_range' },
    })
    ports.release(uuidOf(1))
    expect(await portOf(ports, 2)).toBe(10_000)
  })

  it('do not make another definition of a guest', async () => {
    const placed = await portsOn(new Set([10_000])).place(domainOf(1), never)

    expect(definitionOf(placed).sha256).toBe(definitionOf(domainOf(1)).sha256)
    expect(definitionOf(placed).xml).toContain('<source mode="bind" host="127.0.0.1" service="10001"/>')
  })

  it('are those of the destination in the document of a guest that goes there as it runs', async () => {
    const placed = await portsOn(new Set()).place(domainOf(1), never)
    const there = { folder: '/there', definition: 'a', target_connect_addr: null, graphics_listen_addr: null }
    const data = { ...there, serial_listen_addr: '10.0.0.9', serial_listen_ports: [10_002] }

    const xml = movedXml(definitionOf(placed).xml, { folder: '/here', data })

    expect(xml).toContain('<source mode="bind" host="10.0.0.9" service="10002"/>')
    expect(movedXml(definitionOf(placed).xml, { folder: '/here', data: there })).toContain('service="10000"')
  })
})
