import { describe, expect, it } from 'vitest'
import { VolumePath } from '../../src/objects/attached-devices.ts'
import { devicesAfter, isAttached, refuseAttachment, volumeBus } from '../../src/objects/attachment-rules.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { InstanceAction } from '../../src/objects/instance-action.ts'
import { anInstance } from '../compute/support/instances.ts'

const volume = {
  volume_id: 'a07f71dc-8151-4e7d-a0cc-cd24a3f11113',
  path: '/srv/volumes/data.raw',
  bus: 'scsi',
} as const
const other = 'a07f71dc-8151-4e7d-a0cc-cd24a3f11114'
const plugged = {
  mac: 'fa:16:3e:00:00:77',
  source: { kind: 'bridge', bridge: 'br1' },
  ip_address: { address: '10.1.0.7', version: 4, mac: 'fa:16:3e:00:00:77', label: '' },
} as const
const bare = anInstance()
const grown: Instance = {
  ...bare,
  volumes: [{ ...volume, device: 'sdb' }],
  interfaces: [{ ...plugged }],
  ip_addresses: [...bare.ip_addresses, plugged.ip_address],
}
const full: Instance = {
  ...bare,
  volumes: Array.from({ length: 10 }, (_, at) => ({
    volume_id: `a07f71dc-8151-4e7d-a0cc-cd24a3f1111${at}`,
    path: `/srv/${at}`,
    bus: 'scsi',
    device: '',
  })),
}
const attachVolume = (changes: object = {}): InstanceAction => ({
  name: 'attach_volume',
  volume: { ...volume, ...changes },
})

function refusal(instance: Instance, action: InstanceAction): string | undefined {
  try {
    refuseAttachment(instance, action)
    return undefined
  } catch (error) {
    const { code, message } = error as Error & { code: string }
    return `${code} ${message.replaceAll(instance.uuid, 'U')}`
  }
}

describe('devices that are attached', () => {
  it.each([
    ['a clear guest', {}, 'virtio'],
    ['an encrypted one, which reads it by SCSI as its root disk', { model: 'amd-sev' }, 'scsi'],
    ['an image that names a bus', { properties: { hw_disk_bus: 'sata' } }, 'sata'],
    ['an image that names IDE, where nothing is plugged in', { properties: { hw_disk_bus: 'ide' } }, 'virtio'],
  ] as const)('are on the bus of %s', (_whose, changes, bus) => {
    expect(volumeBus(anInstance(changes))).toBe(bus)
  })

  it.each([
    [
      attachVolume({ path: '/srv/other' }),
      /^INVALID_ARGUMENTS volume_id is .* attached already, from \/srv\/volumes\/data.raw/,
    ],
    [attachVolume({ volume_id: other }), /^INVALID_ARGUMENTS path is \/srv\/volumes\/data.raw, but instance U cannot/],
    [{ name: 'detach_volume', volume_id: other }, /^DEVICE_NOT_FOUND instance U has no volume .*4; see what it has/],
    [{ name: 'attach_interface', interface: plugged }, /^INVALID_ARGUMENTS mac is .* an interface of this address/],
    [{ name: 'detach_interface', mac: 'fa:16:3e:00:00:78' }, /^DEVICE_NOT_FOUND instance U has no interface/],
  ] as const)('are refused by name where there is such a one, or none: %j', (action, words) => {
    expect(refusal(grown, action as InstanceAction)).toMatch(words)
  })

  it.each([
    attachVolume({ volume_id: other, path: '/srv/volumes/more.raw' }),
    { name: 'detach_volume', volume_id: volume.volume_id },
    { name: 'attach_interface', interface: { ...plugged, mac: 'fa:16:3e:00:00:78' } },
    { name: 'detach_interface', mac: 'fa:16:3e:00:00:05' },
    { name: 'pause' },
  ] as const)('are no trouble otherwise: %j', (action) => {
    expect(refusal(grown, action as InstanceAction)).toBeUndefined()
  })

  it('are as many as one SCSI controller takes', () => {
    const action = attachVolume({ volume_id: volume.volume_id.replace(/3$/, 'a') })

    expect(refusal(full, action)).toMatch(/it has 10 volumes, and at most 10 are taken/)
  })

  it('are known again by all that was asked for', () => {
    const asked = [
      attachVolume(),
      attachVolume({ bus: 'virtio' }),
      { name: 'attach_interface', interface: plugged },
      { name: 'attach_interface', interface: { ...plugged, source: null } },
      { name: 'pause' },
    ] as const

    expect(asked.map((action) => isAttached(grown, action as InstanceAction))).toEqual([
      true,
      false,
      true,
      false,
      false,
    ])
  })

  it('are the instance’s when they were attached, and not when they were detached', () => {
    const { volumes, interfaces, ip_addresses } = grown
    const changesOf = (instance: Instance, action: InstanceAction) => devicesAfter(instance, action, { device: 'sdb' })
    const withoutAddress = { ...plugged, ip_address: null }

    expect(changesOf(bare, attachVolume())).toEqual({ volumes })
    expect(devicesAfter(bare, attachVolume(), {})).toEqual({ volumes: [{ ...volume, device: '' }] })
    expect(changesOf(bare, { name: 'attach_interface', interface: plugged })).toEqual({ interfaces, ip_addresses })
    expect(changesOf(bare, { name: 'attach_interface', interface: withoutAddress })).toEqual({
      interfaces: [withoutAddress],
      ip_addresses: bare.ip_addresses,
    })
    expect(changesOf(grown, { name: 'detach_volume', volume_id: volume.volume_id })).toEqual({ volumes: [] })
    expect(changesOf(grown, { name: 'detach_interface', mac: plugged.mac })).toEqual({
      interfaces: [],
      ip_addresses: bare.ip_addresses,
    })
    expect(changesOf(grown, { name: 'pause' })).toEqual({})
  })

  it.each([
    ['/srv/volumes/data.raw', true],
    ['/dev/vg-guests/data', true],
    ['/srv/..data/.hidden', true],
    ['srv/data', false],
    ['/srv/../etc/shadow', false],
    ['/srv/./data', false],
    ['/srv/..', false],
    ['/srv/volumes/', false],
    ['/srv//data', false],
    ['/', false],
    ['/srv/a\nb', false],
  ])('have paths that need not be resolved: %s is one: %s', (path, isOne) => {
    expect(VolumePath.safeParse(path).success).toBe(isOne)
  })
})
