import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { disks } from '../../../src/compute/libvirt/configurators/disks.ts'
import { machine } from '../../../src/compute/libvirt/configurators/machine.ts'
import { metadata } from '../../../src/compute/libvirt/configurators/metadata.ts'
import { type GuestSpec, guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance } from '../support/instances.ts'

const host = aCapableHost()
const encrypted = () => guestSpec(anInstance({ model: 'amd-sev' }))
const plain = () => guestSpec(anInstance())
const domain = () => buildDomain(encrypted(), host)

function withProperties(guest: GuestSpec, properties: Record<string, string>) {
  return { ...guest, image: { ...guest.image, properties: { ...guest.image.properties, ...properties } } }
}

describe('configurators hold their rule by themselves, whoever let the guest pass', () => {
  it.each(['virtio', 'ide'])('no encrypted guest boots from %s', (bus) => {
    expect(() => disks(domain(), withProperties(encrypted(), { hw_disk_bus: bus }), host)).toThrow(
      expect.objectContaining({ code: 'FLAVOR_IMAGE_CONFLICT' }),
    )
  })

  it('a plain guest boots from what its image names', () => {
    expect(disks(domain(), withProperties(plain(), { hw_disk_bus: 'sata' }), host).disks[0]?.bus).toBe('sata')
  })

  it('no encrypted guest runs on another machine than q35: an image that names one is wrong everywhere', () => {
    expect(() => machine(domain(), withProperties(encrypted(), { hw_machine_type: 'pc' }), host)).toThrow(
      expect.objectContaining({ code: 'INVALID_MACHINE_TYPE' }),
    )
  })

  it('a guest without image names says so in its document', () => {
    const nameless = { ...plain(), image: { ...plain().image, id: null, name: null } }

    expect(metadata(domain(), nameless, host).metadata).toMatchObject({ imageId: undefined, imageName: undefined })
  })
})
