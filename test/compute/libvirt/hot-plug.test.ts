import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { withIommu } from '../../../src/compute/libvirt/configurators/iommu.ts'
import { sharedMemory } from '../../../src/compute/libvirt/configurators/shared-memory.ts'
import type { DiskSpec, DomainSpec, InterfaceSpec } from '../../../src/compute/libvirt/domain-spec.ts'
import { domainXml } from '../../../src/compute/libvirt/domain-xml.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import { diskDeviceXmls, interfaceDeviceXml } from '../../../src/compute/libvirt/hot-plug.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance } from '../support/instances.ts'

const encrypted = { uuid: 'u-1', isEncrypted: true, hasScsiController: true }
const clear = { ...encrypted, isEncrypted: false }
const aDisk: DiskSpec = {
  role: 'volume',
  device: 'disk',
  format: 'raw',
  file: '/dev/vg/volume',
  bus: 'virtio',
  target: 'vdb',
  sizeMib: 0,
  iommu: false,
}
const anInterface: InterfaceSpec = {
  mac: 'fa:16:3e:00:00:07',
  source: { kind: 'bridge', bridge: 'br0' },
  model: 'virtio',
  iommu: false,
}

describe('a device that is attached to a guest that runs', () => {
  it('carries iommu when it is virtio and the guest encrypted, as at boot', () => {
    expect(diskDeviceXmls(aDisk, encrypted)).toEqual([
      `<disk type="block" device="disk">
  <driver name="qemu" type="raw" cache="none" iommu="on"/>
  <source dev="/dev/vg/volume"/>
  <target dev="vdb" bus="virtio"/>
</disk>`,
    ])
    expect(interfaceDeviceXml(anInterface, encrypted)).toBe(`<interface type="bridge">
  <mac address="fa:16:3e:00:00:07"/>
  <source bridge="br0"/>
  <model type="virtio"/>
  <driver iommu="on"/>
</interface>`)
  })

  it('carries none otherwise', () => {
    for (const xml of [
      ...diskDeviceXmls(aDisk, clear),
      ...diskDeviceXmls({ ...aDisk, bus: 'scsi', target: 'sdb' }, encrypted),
      interfaceDeviceXml(anInterface, clear),
      interfaceDeviceXml({ ...anInterface, model: 'e1000e' }, encrypted),
    ]) {
      expect(xml).not.toContain('iommu')
    }
  })

  it('brings a SCSI controller along where the guest has none, with iommu when it is encrypted', () => {
    const onScsi: DiskSpec = { ...aDisk, bus: 'scsi', target: 'sda' }
    const controller = `<controller type="scsi" index="0" model="virtio-scsi">
  <driver iommu="on"/>
</controller>`

    expect(diskDeviceXmls(onScsi, { ...encrypted, hasScsiController: false })).toEqual([
      controller,
      expect.stringMatching(/^<disk [\s\S]*bus="scsi"/),
    ])
    expect(diskDeviceXmls(onScsi, { ...clear, hasScsiController: false })).toEqual([
      '<controller type="scsi" index="0" model="virtio-scsi"/>',
      expect.stringMatching(/^<disk /),
    ])
    expect(diskDeviceXmls(aDisk, { ...encrypted, hasScsiController: false })).toHaveLength(1)
    expect(diskDeviceXmls(onScsi, encrypted)).toHaveLength(1)
  })

  it('may be served by a switch in user space', () => {
    const source = { kind: 'vhostuser', socket: '/run/vhost/p1.sock', mode: 'server' } as const

    expect(interfaceDeviceXml({ ...anInterface, model: 'virtio', source }, encrypted)).toContain(
      '<source type="unix" path="/run/vhost/p1.sock" mode="server"/>',
    )
  })

  it('cannot be on IDE, which q35 does not have; a guest in clear may have it', () => {
    const ide: DiskSpec = { ...aDisk, bus: 'ide', target: 'hda' }

    expect(() => diskDeviceXmls(ide, encrypted)).toThrow(
      expect.objectContaining({ code: 'FLAVOR_IMAGE_CONFLICT', message: expect.stringContaining('disk hda') }),
    )
    expect(diskDeviceXmls(ide, clear)).toEqual([expect.stringContaining('bus="ide"')])
  })

  it('is refused when XML cannot carry what it is called', () => {
    expect(() => diskDeviceXmls({ ...aDisk, file: '/a\u0001' }, encrypted)).toThrow(
      expect.objectContaining({ code: 'INVALID_DOMAIN_XML' }),
    )
  })
})

describe('devices of virtio that no image asks for yet', () => {
  const base = () => buildDomain(guestSpec(anInstance({ model: 'amd-sev' })), aCapableHost())
  const domain = (): DomainSpec => ({
    ...base(),
    filesystems: [{ folder: '/srv/share', tag: 'share', iommu: false }],
    vsock: { cid: undefined, iommu: false },
    interfaces: [
      { ...anInterface, model: 'virtio', source: { kind: 'vhostuser', socket: '/run/vhost/p1.sock', mode: 'client' } },
    ],
  })

  it('carry iommu too: virtiofs, vsock and vhost-user', () => {
    const xml = domainXml(withIommu(domain()))

    expect(xml).toContain('<driver type="virtiofs" iommu="on"/>')
    expect(xml).toMatch(/<vsock model="virtio">\s*<driver iommu="on"\/>\s*<cid auto="yes"\/>/)
    expect(xml).toMatch(/<interface type="vhostuser">[\s\S]*<driver iommu="on"\/>\s*<\/interface>/)
    expect(domainXml({ ...domain(), vsock: { cid: 3, iommu: true } })).toContain('<cid auto="no" address="3"/>')
  })

  it('that another process serves share the memory with it, and nothing else does', () => {
    const guest = guestSpec(anInstance())
    const shared = domainXml(sharedMemory(domain(), guest, aCapableHost()))

    expect(shared).toMatch(/<locked\/>\s*<source type="memfd"\/>\s*<access mode="shared"\/>/)
    expect(sharedMemory({ ...domain(), filesystems: [] }, guest, aCapableHost()).memoryBacking.shared).toBe(true)
    expect(sharedMemory(base(), guest, aCapableHost()).memoryBacking.shared).toBe(false)
  })
})
