import { describe, expect, it } from 'vitest'
import { parseLibvirtUri } from '../../../../src/compute/libvirt/rpc/uri.ts'

const FOLDERS = { system: '/run/libvirt', session: '/run/user/1000/libvirt' }
const parse = (uri: string) => parseLibvirtUri(uri, FOLDERS)
const unix = (path: string) => ({ kind: 'unix', path })

describe('a URI of libvirt', () => {
  it.each([
    ['qemu:///system', 'qemu:///system', [unix('/run/libvirt/virtqemud-sock'), unix('/run/libvirt/libvirt-sock')]],
    ['qemu+unix:///system', 'qemu:///system', [unix('/run/libvirt/virtqemud-sock'), unix('/run/libvirt/libvirt-sock')]],
    [
      'qemu:///session',
      'qemu:///session',
      [unix('/run/user/1000/libvirt/virtqemud-sock'), unix('/run/user/1000/libvirt/libvirt-sock')],
    ],
    ['qemu+unix:///system?socket=/srv/a%20b.sock', 'qemu:///system', [unix('/srv/a b.sock')]],
    ['test+unix:///default?socket=/srv/s', 'test:///default', [unix('/srv/s')]],
    ['qemu+tcp://host-1/system', 'qemu:///system', [{ kind: 'tcp', host: 'host-1', port: 16_509 }]],
    ['qemu+tcp://[fd00::1]:1600/system', 'qemu:///system', [{ kind: 'tcp', host: 'fd00::1', port: 1600 }]],
    ['qemu+tls://host-1/system', 'qemu:///system', [{ kind: 'tls', host: 'host-1', port: 16_514, verify: true }]],
    ['qemu://host-1/system', 'qemu:///system', [{ kind: 'tls', host: 'host-1', port: 16_514, verify: true }]],
    [
      'qemu+tls://host-1:1/system?no_verify=1',
      'qemu:///system',
      [{ kind: 'tls', host: 'host-1', port: 1, verify: false }],
    ],
    [
      'qemu+tls://host-1/system?no_verify=0',
      'qemu:///system',
      [{ kind: 'tls', host: 'host-1', port: 16_514, verify: true }],
    ],
  ])('%s', (uri, name, endpoints) => {
    expect(parse(uri)).toEqual({ name, endpoints })
  })

  it.each([
    ['', 'is no URI of libvirt'],
    ['qemu', 'is no URI of libvirt'],
    ['qemu:', 'is no URI of libvirt'],
    ['/run/libvirt/libvirt-sock', 'is no URI of libvirt'],
    ['qemu+tcp://host:99999/system', 'is no URI of libvirt'],
    ['1qemu:///system', 'is no URI of libvirt'],
    ['qemu+ssh://host/system', 'goes by ssh, which is not spoken here'],
    ['qemu+unix://host/system', 'names a host, but its socket is on this one'],
    ['qemu+tcp:///system', 'names no host'],
    ['qemu+tls:///system', 'names no host'],
    ['qemu+tls://host/system?pkipath=/srv', 'has the parameter pkipath'],
  ])('%s is refused: it %s', (uri, problem) => {
    const what = `libvirt's URI ${uri} ${problem}`

    expect(() => parse(uri)).toThrow(
      expect.objectContaining({
        code: 'INVALID_CONFIGURATION',
        message: expect.stringContaining(`${what}; `),
        details: { problems: [what], uri, fix: expect.any(String) },
      }),
    )
  })

  it('is refused with what is known here', () => {
    expect(() => parse('qemu+tls://host/system?pkipath=/srv')).toThrow('; known here: socket, no_verify')
    expect(() => parse('')).toThrow('; give it as qemu:///system, ')
  })
})
