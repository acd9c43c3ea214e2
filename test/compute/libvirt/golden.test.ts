import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { domainXml } from '../../../src/compute/libvirt/domain-xml.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance, type InstanceChanges } from '../support/instances.ts'

const UUID = '7d5d3a3e-0c0b-4c2f-9a51-2f6a8f0d1c11'

/**
 * The whole documents stand in test/compute/golden: read the difference, then `npx vitest run test/compute -u` writes
 * them anew. `virt-xml-validate test/compute/golden/*.xml domain` asks libvirt's own schema (sev-snp: libvirt >= 10.5).
 */
const GUESTS: Readonly<Record<string, InstanceChanges>> = {
  sev: { model: 'amd-sev' },
  'sev-es': { model: 'amd-sev-es' },
  'sev-snp': { model: 'amd-sev-snp' },
  'sev-sata-agent': { model: 'amd-sev', properties: { hw_disk_bus: 'sata', hw_qemu_guest_agent: 'yes' } },
  'sev-many-disks': { model: 'amd-sev', flavor: { ephemeral_gb: 10, swap: 512 } },
  'plain-q35-uefi': {},
  'plain-pc-bios': { properties: { hw_machine_type: 'pc', hw_firmware_type: 'bios' } },
}

describe('the domain document', () => {
  it.each(Object.entries(GUESTS))('of a guest %s is the golden one', async (name, changes) => {
    const xml = domainXml(buildDomain(guestSpec(anInstance({ uuid: UUID, ...changes })), aCapableHost()))

    await expect(`${xml}\n`).toMatchFileSnapshot(`../golden/${name}.xml`)
  })

  it('leaves out cbitpos and reducedPhysBits when the host does not tell them', () => {
    const host = aCapableHost({ cbitpos: undefined, reducedPhysBits: undefined })

    const xml = domainXml(buildDomain(guestSpec(anInstance({ model: 'amd-sev' })), host))

    expect(xml).toContain('<launchSecurity type="sev">\n    <policy>0x0033</policy>\n  </launchSecurity>')
  })

  it('escapes names, whatever their owners call their things', () => {
    const instance = { ...anInstance(), name: `<a b="c">&'` }

    const xml = domainXml(buildDomain(guestSpec(instance), aCapableHost()))

    expect(xml).toContain('<sevbus:name>&lt;a b="c"&gt;&amp;\'</sevbus:name>')
  })

  it('refuses characters that XML cannot carry, by name', () => {
    const instance = { ...anInstance(), name: 'bell\u0007' }

    expect(() => domainXml(buildDomain(guestSpec(instance), aCapableHost()))).toThrow(
      expect.objectContaining({ code: 'INVALID_DOMAIN_XML' }),
    )
  })
})
