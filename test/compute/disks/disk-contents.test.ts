import { describe, expect, it } from 'vitest'
import { type DiskContents, diskContents } from '../../../src/compute/disks/disk-contents.ts'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS } from '../../../src/compute/libvirt/domain-options.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import type { Instance } from '../../../src/objects/instance.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance } from '../support/instances.ts'

function contentsOf(instance: Instance, forceConfigDrive: boolean, userData?: string): DiskContents {
  const options = { ...DEFAULT_DOMAIN_OPTIONS, forceConfigDrive }
  return diskContents(instance, buildDomain(guestSpec(instance, options), aCapableHost()), userData)
}

function driveOf(instance: Instance, userData?: string): Readonly<Record<string, unknown>> {
  const { configDrive } = contentsOf(instance, true, userData)
  const read = ({ path, content }: (typeof configDrive)[number]) =>
    path.endsWith('.json') ? JSON.parse(String(content)) : Buffer.from(content).toString('utf8')
  return Object.fromEntries(configDrive.map((file) => [file.path, read(file)]))
}

describe('what the disks of a guest hold', () => {
  it('is the image, and nothing else for a guest without a config drive', () => {
    const instance = anInstance()

    expect(contentsOf(instance, false)).toEqual({ image: instance.image, configDrive: [] })
  })

  it('is, on a config drive, what cloud-init reads: who the guest is, how its network is asked, and the user data', () => {
    const instance = { ...anInstance(), name: 'Web Server 1', availability_zone: 'az-1' }

    const drive = driveOf(instance, Buffer.from('#cloud-config\n').toString('base64'))

    expect(drive).toEqual({
      'openstack/latest/meta_data.json': {
        uuid: instance.uuid,
        name: 'Web Server 1',
        hostname: 'web-server-1',
        project_id: 'p-1',
        availability_zone: 'az-1',
      },
      'openstack/latest/network_data.json': {
        links: [{ id: 'link0', type: 'phy', ethernet_mac_address: 'fa:16:3e:00:00:05' }],
        networks: [{ id: 'network0', link: 'link0', type: 'ipv4_dhcp' }],
        services: [],
      },
      'openstack/latest/vendor_data.json': {},
      'openstack/latest/user_data': '#cloud-config\n',
    })
  })

  it('asks for each kind of address once on each card, whatever case its MAC is written in', () => {
    const addresses = [
      { address: '10.0.0.5', version: 4, mac: 'FA:16:3E:00:00:05', label: '' },
      { address: '10.0.0.6', version: 4, mac: 'fa:16:3e:00:00:05', label: '' },
      { address: '2001:db8::5', version: 6, mac: 'fa:16:3e:00:00:05', label: '' },
      { address: '10.0.1.5', version: 4, mac: 'fa:16:3e:00:00:06', label: '' },
    ] as const

    const drive = driveOf({ ...anInstance(), ip_addresses: [...addresses] })

    expect(drive['openstack/latest/network_data.json']).toEqual({
      links: [
        { id: 'link0', type: 'phy', ethernet_mac_address: 'fa:16:3e:00:00:05' },
        { id: 'link1', type: 'phy', ethernet_mac_address: 'fa:16:3e:00:00:06' },
      ],
      networks: [
        { id: 'network0', link: 'link0', type: 'ipv4_dhcp' },
        { id: 'network1', link: 'link0', type: 'ipv6_slaac' },
        { id: 'network2', link: 'link1', type: 'ipv4_dhcp' },
      ],
      services: [],
    })
  })

  it('names no owner and no zone that the guest does not have', () => {
    const instance = { ...anInstance(), project_id: null }

    expect(driveOf(instance)['openstack/latest/meta_data.json']).toEqual({
      uuid: instance.uuid,
      name: 'vm-1',
      hostname: 'vm-1',
    })
  })

  it.each([
    ['--x--', 'x'],
    [`a${'b'.repeat(61)}!c`, `a${'b'.repeat(61)}`],
    ['Ünïcode', 'n-code'],
    ['日本', undefined],
  ])('makes a host name that DNS takes of the name %s', (name, hostname) => {
    const instance = { ...anInstance(), name }

    const made = driveOf(instance)['openstack/latest/meta_data.json']

    expect(made).toMatchObject({ name, hostname: hostname ?? `server-${instance.uuid}` })
  })
})
