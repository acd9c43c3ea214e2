import { describe, expect, it } from 'vitest'
import { consoleAddress } from '../../../src/compute/libvirt/console-address.ts'

const domain = (devices: string) => `<domain type="kvm"><devices>${devices}</devices></domain>`
const VNC = domain("<graphics type='vnc' port='5900' autoport='yes' listen='10.0.0.1'/>")
const SPICE = domain(
  "<graphics type='vnc' port='5900'/><graphics type='spice' port='5901' tlsPort='5902'><listen type='address' address='10.0.0.1'/></graphics>",
)

const SET_RANGE =
  'set compute.serial_console_port_range on its host and start it anew, or read its log (sevbus console-log)'

describe('where a console of a guest is', () => {
  it.each([
    ['vnc', VNC, { host: '10.0.0.1', port: 5900, tls_port: null }],
    ['spice', SPICE, { host: '10.0.0.1', port: 5901, tls_port: 5902 }],
    ['vnc', SPICE, { host: '127.0.0.1', port: 5900, tls_port: null }],
    [
      'serial',
      domain("<serial type='pty'/><serial type='tcp'><source mode='bind' host='10.0.0.1' service='10000'/></serial>"),
      { host: '10.0.0.1', port: 10_000, tls_port: null },
    ],
    [
      'serial',
      domain("<serial type='tcp'><source service='10000'/></serial>"),
      { host: '127.0.0.1', port: 10_000, tls_port: null },
    ],
  ] as const)('%s: is read from its document', (protocol, xml, expected) => {
    expect(consoleAddress(xml, protocol, undefined)).toEqual({ ...expected, internal_access_path: null })
  })

  it('is told by the address that proxies have of the host', () => {
    expect(consoleAddress(VNC, 'vnc', 'node1.example.com')).toMatchObject({ host: 'node1.example.com', port: 5900 })
  })

  it('is nowhere while the guest is off, though its document has the port', () => {
    const serial = domain("<serial type='tcp'><source mode='bind' host='10.0.0.1' service='10000'/></serial>")

    expect(() => consoleAddress(serial, 'serial', undefined, true)).toThrow(
      expect.objectContaining({ code: 'CONSOLE_NOT_AVAILABLE' }),
    )
  })

  it.each([
    ['spice', VNC, 'CONSOLE_TYPE_UNAVAILABLE', 'set compute.graphics = "spice" on its host'],
    ['serial', domain("<serial type='pty'/>"), 'CONSOLE_TYPE_UNAVAILABLE', SET_RANGE],
    ['vnc', domain("<graphics type='vnc' port='-1' autoport='yes'/>"), 'CONSOLE_NOT_AVAILABLE', 'start the instance'],
  ] as const)('is refused by name where there is none, or none yet: %s', (protocol, xml, code, fix) => {
    expect(() => consoleAddress(xml, protocol, undefined)).toThrow(
      expect.objectContaining({ code, details: { console_type: protocol, fix } }),
    )
  })
})
