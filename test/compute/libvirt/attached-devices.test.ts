import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS, type DomainOptions } from '../../../src/compute/libvirt/domain-options.ts'
import type { DiskSpec, InterfaceSpec } from '../../../src/compute/libvirt/domain-spec.ts'
import { domainXml } from '../../../src/compute/libvirt/domain-xml.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import { pluggedXmls, unpluggedXml } from '../../../src/compute/libvirt/hot-plug.ts'
import {
  hasScsiController,
  isPlugged,
  type PluggedDevice,
  targetOf,
} from '../../../src/compute/libvirt/plugged-device.ts'
import type { AttachedInterface, AttachedVolume } from '../../../src/objects/attached-devices.ts'
import type { MemEncryptionModel } from '../../../src/objects/mem-encryption.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance } from '../support/instances.ts'

const OPTIONS: DomainOptions = {
  ...DEFAULT_DOMAIN_OPTIONS,
  network: { kind: 'network', network: 'default' },
  volumeFolders: ['/srv/volumes', '/dev/vg/'],
  attachableNetworks: [
    { kind: 'bridge', bridge: 'br7' },
    { kind: 'network', network: 'storage' },
  ],
}
const aVolume: AttachedVolume = {
  volume_id: '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c2001',
  path: '/srv/volumes/data.raw',
  bus: 'virtio',
  device: 'vda',
}
const anInterface: AttachedInterface = { mac: 'fa:16:3e:00:00:07', source: null, ip_address: null }

interface Attached {
  readonly model?: MemEncryptionModel
  readonly volumes?: readonly AttachedVolume[]
  readonly interfaces?: readonly AttachedInterface[]
  readonly options?: Partial<DomainOptions>
}

function domainOf({ model, volumes = [], interfaces = [], options = {} }: Attached) {
  const instance = {
    ...anInstance(model === undefined ? {} : { model }),
    volumes: [...volumes],
    interfaces: [...interfaces],
  }
  return buildDomain(guestSpec(instance, { ...OPTIONS, ...options }), aCapableHost())
}

const volumesOf = (asked: Attached) => domainOf(asked).disks.filter(({ role }) => role === 'volume')
const refusal = (message: RegExp) =>
  expect.objectContaining({ code: 'DEVICE_NOT_ALLOWED', message: expect.stringMatching(message) })

describe('what was attached to an instance is in its domain at each start', () => {
  it('a volume, bare, by the name that it had; encrypted guests see it through iommu', () => {
    const disk = { role: 'volume', device: 'disk', format: 'raw', file: aVolume.path, sizeMib: 0 }
    const named = { ...disk, serial: aVolume.volume_id, bus: 'virtio', target: 'vda' }

    expect(volumesOf({ model: 'amd-sev', volumes: [aVolume] })).toEqual([{ ...named, iommu: true }])
    expect(volumesOf({ volumes: [{ ...aVolume, device: 'vdc' }] })).toEqual([{ ...named, target: 'vdc', iommu: false }])
  })

  it('a volume by another name, where it had none or another disk has that by now', () => {
    const volumes = [
      { ...aVolume, device: '' },
      { ...aVolume, path: '/srv/volumes/b.raw', device: 'vda' },
      { ...aVolume, path: '/dev/vg/c', bus: 'scsi', device: 'sda' } as const,
    ]

    expect(volumesOf({ model: 'amd-sev', volumes }).map(({ file, target }) => [file, target])).toEqual([
      [aVolume.path, 'vda'],
      ['/srv/volumes/b.raw', 'vdb'],
      ['/dev/vg/c', 'sdb'],
    ])
  })

  it('none that the operator does not give away, however alike its path is', () => {
    for (const path of ['/srv/volumes-of-others/a', '/srv/volumes', '/dev/vg2/a', '/etc/shadow']) {
      expect(() => volumesOf({ volumes: [{ ...aVolume, path }] })).toThrow(
        refusal(
          new RegExp(`^volume ${aVolume.volume_id} is ${path}, which this host gives to no guest; .*volume_folders`),
        ),
      )
    }
    expect(() => volumesOf({ volumes: [aVolume], options: { volumeFolders: [] } })).toThrow(refusal(/no guest/))
  })

  it('an interface, after those of the boot, where it was asked for or where the host plugs all guests in', () => {
    const interfaces: AttachedInterface[] = [
      anInterface,
      { ...anInterface, mac: 'fa:16:3e:00:00:08', source: { kind: 'bridge', bridge: 'br7' } },
      { ...anInterface, mac: 'fa:16:3e:00:00:09', source: { kind: 'network', network: 'storage' } },
      { ...anInterface, mac: 'fa:16:3e:00:00:0a', source: { kind: 'network', network: 'default' } },
    ]
    const made = (mac: string, source: object) => ({ mac, source, model: 'virtio', iommu: true })

    expect(domainOf({ model: 'amd-sev-es', interfaces }).interfaces).toEqual([
      made('fa:16:3e:00:00:05', OPTIONS.network),
      made('fa:16:3e:00:00:07', OPTIONS.network),
      made('fa:16:3e:00:00:08', { kind: 'bridge', bridge: 'br7' }),
      made('fa:16:3e:00:00:09', { kind: 'network', network: 'storage' }),
      made('fa:16:3e:00:00:0a', OPTIONS.network),
    ])
  })

  it('an interface where it was asked for, and no others, on a host that plugs guests in nowhere', () => {
    const elsewhere: AttachedInterface = { ...anInterface, source: { kind: 'bridge', bridge: 'br7' } }
    const options = { network: { kind: 'none' } } as const

    expect(domainOf({ interfaces: [anInterface], options }).interfaces).toEqual([])
    expect(domainOf({ interfaces: [elsewhere], options }).interfaces).toEqual([
      { mac: anInterface.mac, source: elsewhere.source, model: 'virtio', iommu: false },
    ])
  })

  it('no interface on a network that the operator does not give away', () => {
    const on = (source: AttachedInterface['source']) => () => domainOf({ interfaces: [{ ...anInterface, source }] })

    expect(on({ kind: 'bridge', bridge: 'storage' })).toThrow(
      refusal(/^interface fa:16:3e:00:00:07 is to be on bridge storage, .*no guest; .*compute\.attachable_bridges/),
    )
    expect(on({ kind: 'network', network: 'br7' })).toThrow(
      refusal(/^interface fa:16:3e:00:00:07 is to be on network br7, .*no guest; .*compute\.attachable_networks/),
    )
  })
})

describe('a device is found in the document of a guest', () => {
  const disk: DiskSpec = {
    role: 'volume',
    device: 'disk',
    format: 'raw',
    file: aVolume.path,
    bus: 'virtio',
    target: 'vdz',
    sizeMib: 0,
    iommu: false,
  }
  const nic: InterfaceSpec = {
    mac: anInterface.mac,
    source: { kind: 'bridge', bridge: 'br7' },
    model: 'virtio',
    iommu: false,
  }
  const onDisk = (file: string): PluggedDevice => ({ kind: 'disk', disk: { ...disk, file } })
  const document = () =>
    domainXml(
      domainOf({
        volumes: [aVolume, { ...aVolume, path: '/dev/vg/c', device: 'vdc' }],
        interfaces: [{ ...anInterface, source: { kind: 'bridge', bridge: 'br7' } }],
      }),
    )

  it('a disk by its file or its block device, whatever it is called', () => {
    const xml = document()

    expect([targetOf(xml, disk), targetOf(xml, { file: '/dev/vg/c' }), targetOf(xml, { file: '/other' })]).toEqual([
      volumesOf({ volumes: [aVolume] })[0]?.target,
      'vdc',
      undefined,
    ])
    expect([onDisk(aVolume.path), onDisk('/dev/vg/c'), onDisk('/other')].map((each) => isPlugged(xml, each))).toEqual([
      true,
      true,
      false,
    ])
  })

  it('an interface by its address, as libvirt may write it', () => {
    const xml = document()
    const device: PluggedDevice = { kind: 'interface', interface: nic }

    expect(isPlugged(xml, device)).toBe(true)
    expect(isPlugged(xml.replaceAll(nic.mac, nic.mac.toUpperCase()), device)).toBe(true)
    expect(isPlugged(xml, { kind: 'interface', interface: { ...nic, mac: 'fa:16:3e:00:00:99' } })).toBe(false)
  })

  it('a controller for disks on SCSI, and none where there are others only', () => {
    expect(hasScsiController(domainXml(domainOf({ model: 'amd-sev' })))).toBe(true)
    expect(hasScsiController('<domain><devices><controller type="sata"/></devices></domain>')).toBe(false)
    expect(hasScsiController('<domain><devices/></domain>')).toBe(false)
  })

  it('and is named by as much as libvirt needs to plug it in, and to take it out', () => {
    const guest = { uuid: 'u-1', isEncrypted: true, hasScsiController: true }
    const interfaceOf = { kind: 'interface', interface: nic } as const

    expect(pluggedXmls(onDisk('/dev/vg/c'), guest)).toEqual([
      expect.stringMatching(/^<disk type="block"[\s\S]*iommu="on"/),
    ])
    expect(pluggedXmls(interfaceOf, guest)).toEqual([
      expect.stringMatching(/^<interface type="bridge">[\s\S]*iommu="on"/),
    ])
    expect(unpluggedXml(onDisk('/dev/vg/c'), 'u-1')).toMatch(
      /^<disk type="block"[\s\S]*<target dev="vdz" bus="virtio"\/>/,
    )
    expect(unpluggedXml(interfaceOf, 'u-1')).toMatch(/^<interface type="bridge">\s*<mac address="fa:16:3e:00:00:07"\/>/)
  })
})
