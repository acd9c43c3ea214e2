import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { domainXml } from '../../../src/compute/libvirt/domain-xml.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import type { HostCapabilities } from '../../../src/compute/libvirt/host-capabilities.ts'
import type { Instance } from '../../../src/objects/instance.ts'
import type { MemEncryption } from '../../../src/objects/mem-encryption.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance } from '../support/instances.ts'

const withCode = (code: string, retryable: boolean) => expect.objectContaining({ code, retryable })

function build(instance: Instance, host: HostCapabilities = aCapableHost()): string {
  return domainXml(buildDomain(guestSpec(instance), host))
}

describe('building a domain fails closed', () => {
  it('where the host offers no such model, and says why', () => {
    const host = aCapableHost({ slots: {}, missing: { 'amd-sev': 'the kernel has it off' } })

    expect(() => build(anInstance({ model: 'amd-sev' }), host)).toThrow(/amd-sev: the kernel has it off/)
    expect(() => build(anInstance({ model: 'amd-sev' }), host)).toThrow(withCode('HOST_CAPABILITY_MISSING', true))
  })

  it('where the host has no UEFI', () => {
    const host = aCapableHost({ supportsUefi: false })

    expect(() => build(anInstance({ model: 'amd-sev' }), host)).toThrow(withCode('HOST_CAPABILITY_MISSING', true))
    expect(() => build(anInstance(), host)).toThrow(withCode('HOST_CAPABILITY_MISSING', true))
  })

  it('where the default machine type is not q35 and the image leaves it open: another host may do', () => {
    const undecided = anInstance({ model: 'amd-sev', properties: { hw_machine_type: undefined } })

    expect(build(undecided)).toContain('machine="q35"')
    expect(() => build(undecided, aCapableHost({ defaultMachineType: 'pc' }))).toThrow(
      withCode('HOST_CAPABILITY_MISSING', true),
    )
  })

  it('where the host does not know the machine type', () => {
    expect(() => build(anInstance({ properties: { hw_machine_type: 'pc-q35-2.4' } }))).toThrow(
      withCode('HOST_CAPABILITY_MISSING', true),
    )
  })

  it('for an instance whose encryption was lost on the way', () => {
    const instance = { ...anInstance({ model: 'amd-sev' }), mem_encryption: null }

    expect(() => build(instance)).toThrow(withCode('INVALID_PROPERTY', false))
  })

  it('for an instance with a weaker policy than its model has', () => {
    const instance = anInstance({ model: 'amd-sev' })
    const weak = { ...instance, mem_encryption: { ...(instance.mem_encryption as MemEncryption), policy: '0x0000' } }

    expect(() => build(weak)).toThrow(withCode('INVALID_PROPERTY', false))
  })

  it('for an instance with another model than it asks for', () => {
    const sev = anInstance({ model: 'amd-sev' }).mem_encryption

    expect(() => build({ ...anInstance({ model: 'amd-sev-es' }), mem_encryption: sev })).toThrow(
      withCode('INVALID_PROPERTY', false),
    )
  })

  it('for a boot disk on virtio-blk, even where the request got past the conductor', () => {
    const instance = anInstance({ model: 'amd-sev' })
    const image = { ...instance.image, properties: { ...instance.image.properties, hw_disk_bus: 'virtio' } }

    expect(() => build({ ...instance, image })).toThrow(withCode('FLAVOR_IMAGE_CONFLICT', false))
  })
})
