import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../../src/compute/libvirt/build-domain.ts'
import { definitionOf, ownershipOf } from '../../../../src/compute/libvirt/driver/definition.ts'
import { guestState } from '../../../../src/compute/libvirt/driver/guest-state.ts'
import { guestSpec } from '../../../../src/compute/libvirt/guest-spec.ts'
import { aCapableHost } from '../../support/hosts.ts'
import { anInstance } from '../../support/instances.ts'

const domain = buildDomain(guestSpec(anInstance({ model: 'amd-sev' })), aCapableHost())

describe('the definition of a guest', () => {
  it('bears its own digest, by which it is known again', () => {
    const { xml, sha256 } = definitionOf(domain)

    expect(ownershipOf(xml)).toEqual({ isOurs: true, sha256 })
    expect(definitionOf(domain)).toEqual({ xml, sha256 })
  })

  it('is another one as soon as anything of it is', () => {
    expect(definitionOf({ ...domain, memoryMib: domain.memoryMib + 1 }).sha256).not.toBe(definitionOf(domain).sha256)
  })

  it.each([
    '<domain><name>x</name></domain>',
    '<domain><metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"/></metadata></domain>',
    '<domain><metadata><sevbus:instance xmlns:sevbus="urn:somebody-else"/></metadata></domain>',
  ])('of somebody else is not ours: %s', (xml) => {
    expect(ownershipOf(xml)).toMatchObject({ isOurs: false })
  })
})

describe('the state of a domain', () => {
  it.each([
    ['running', 'running'],
    ['blocked', 'running'],
    ['shutdown', 'running'],
    ['nostate', 'running'],
    ['unknown', 'running'],
    ['paused', 'paused'],
    ['pmsuspended', 'paused'],
    ['shutoff', 'shutoff'],
    ['crashed', 'crashed'],
  ] as const)('%s is a guest that is %s', (state, expected) => {
    expect(guestState(state)).toBe(expected)
  })
})
