import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { effectiveDescriptors, firmwareFeatures } from '../../../src/compute/libvirt/firmware-descriptors.ts'
import { readDescriptorFiles } from '../../../src/compute/libvirt/read-firmware-descriptors.ts'
import { aFolder } from '../support/folders.ts'

function aDescriptor(features: readonly string[], changes: object = {}): string {
  return JSON.stringify({
    description: 'UEFI firmware',
    'interface-types': ['uefi'],
    mapping: { device: 'flash', executable: { filename: '/usr/share/OVMF/OVMF_CODE_4M.fd', format: 'raw' } },
    targets: [{ architecture: 'x86_64', machines: ['pc-i440fx-*', 'pc-q35-*'] }],
    features,
    tags: [],
    ...changes,
  })
}

const featuresOf = (...folders: { name: string; text: string }[][]) =>
  firmwareFeatures(effectiveDescriptors(folders), 'x86_64')

describe('firmware descriptors', () => {
  it('tell together what UEFI firmware for q35 can do', () => {
    const files = [
      { name: '50-ovmf.json', text: aDescriptor(['amd-sev', 'verbose-dynamic']) },
      { name: '60-amdsev.json', text: aDescriptor(['amd-sev', 'amd-sev-es', 'amd-sev-snp']) },
    ]

    expect(featuresOf(files)).toEqual(['amd-sev', 'amd-sev-es', 'amd-sev-snp', 'verbose-dynamic'])
  })

  it('of BIOS, of other architectures and for other machines do not count', () => {
    const files = [
      { name: 'bios.json', text: aDescriptor(['acpi-s3'], { 'interface-types': ['bios'] }) },
      { name: 'arm.json', text: aDescriptor(['a'], { targets: [{ architecture: 'aarch64', machines: ['virt-*'] }] }) },
      {
        name: 'pc.json',
        text: aDescriptor(['b'], { targets: [{ architecture: 'x86_64', machines: ['pc-i440fx-*'] }] }),
      },
    ]

    expect(featuresOf(files)).toEqual([])
  })

  it("of the operator override the distribution's of the same name, and hide them when empty", () => {
    const distribution = [
      { name: '50-ovmf.json', text: aDescriptor(['amd-sev']) },
      { name: '60-snp.json', text: aDescriptor(['amd-sev-snp']) },
    ]

    expect(featuresOf([{ name: '60-snp.json', text: '' }], distribution)).toEqual(['amd-sev'])
    expect(featuresOf([{ name: '50-ovmf.json', text: aDescriptor(['amd-sev-es']) }], distribution)).toEqual([
      'amd-sev-es',
      'amd-sev-snp',
    ])
  })

  it('that are none are passed over', () => {
    const files = [
      { name: 'broken.json', text: '{' },
      { name: 'other.json', text: '{"features": "amd-sev"}' },
      { name: 'notes.txt', text: aDescriptor(['amd-sev-es']) },
      { name: 'good.json', text: aDescriptor(['amd-sev']) },
    ]

    expect(featuresOf(files)).toEqual(['amd-sev'])
  })

  it('are read from the folders that QEMU names, where they are there; a link to nowhere hides', async () => {
    const root = await aFolder()
    for (const folder of ['etc/qemu/firmware', 'usr/share/qemu/firmware']) {
      await mkdir(join(root, folder), { recursive: true })
    }
    await symlink('/dev/null', join(root, 'etc/qemu/firmware/60-snp.json'))
    await writeFile(join(root, 'usr/share/qemu/firmware/60-snp.json'), aDescriptor(['amd-sev-snp']))
    await writeFile(join(root, 'usr/share/qemu/firmware/50-ovmf.json'), aDescriptor(['amd-sev']))

    expect(featuresOf(...(await readDescriptorFiles(root)).map((files) => [...files]))).toEqual(['amd-sev'])
    expect(await readDescriptorFiles(join(root, 'nowhere'))).toEqual([[], []])
  })
})
