import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { effectiveDescriptors, featuresOf, uefiFirmware } from '../../../src/compute/libvirt/firmware-descriptors.ts'
import { readDescriptorFiles } from '../../../src/compute/libvirt/read-firmware-descriptors.ts'
import { aDescriptor } from '../support/firmware-descriptors.ts'
import { aFolder } from '../support/folders.ts'

const IN_MEMORY = { mapping: { device: 'memory', filename: '/usr/share/OVMF/OVMF.amdsev.fd' } }

const firmwareOf = (text: string, machine = 'pc-q35-1') =>
  uefiFirmware(effectiveDescriptors([[{ name: 'a.json', text }]]), 'x86_64', machine)
const allFeatures = (...folders: { name: string; text: string }[][]) =>
  featuresOf(uefiFirmware(effectiveDescriptors(folders), 'x86_64', 'pc-q35-1'))

describe('firmware descriptors', () => {
  it('tell together what UEFI firmware for q35 can do', () => {
    const files = [
      { name: '50-ovmf.json', text: aDescriptor(['amd-sev', 'verbose-dynamic']) },
      { name: '60-amdsev.json', text: aDescriptor(['amd-sev', 'amd-sev-es', 'amd-sev-snp'], IN_MEMORY) },
    ]

    expect(allFeatures(files)).toEqual(['amd-sev', 'amd-sev-es', 'amd-sev-snp', 'verbose-dynamic'])
  })

  it.each([
    ['pc-q35-*', 1],
    ['pc-*', 1],
    ['*', 1],
    ['pc-q35-?', 1],
    ['pc-q35-1', 1],
    ['q35', 0],
    ['pc-q35-2*', 0],
    ['*q35', 0],
    ['microvm', 0],
  ])('for machines %s count for the concrete machine pc-q35-1: %i', (pattern, count) => {
    const targets = [{ architecture: 'x86_64', machines: ['isapc', pattern] }]

    expect(firmwareOf(aDescriptor([], { targets }))).toHaveLength(count)
  })

  it.each([
    [{ device: 'flash' }, [{ keepsVariables: true, stateless: false, isInMemory: false }]],
    [{ device: 'flash', mode: 'split' }, [{ keepsVariables: true, stateless: false, isInMemory: false }]],
    [{ device: 'flash', mode: 'stateless' }, [{ keepsVariables: false, stateless: true, isInMemory: false }]],
    [
      { device: 'memory', filename: '/usr/share/OVMF.fd' },
      [{ keepsVariables: true, stateless: true, isInMemory: true }],
    ],
    [{ device: 'flash', mode: 'combined' }, []],
    [{ device: 'kernel', filename: '/boot/u-boot' }, []],
    [{ device: 'flash', mode: 'of a later QEMU' }, []],
    [{ device: 'igvm' }, []],
  ])('mapped as %j are for %j', (mapping, kinds) => {
    expect(firmwareOf(aDescriptor(['amd-sev'], { mapping }))).toEqual(
      kinds.map((kind) => ({ ...kind, features: ['amd-sev'] })),
    )
  })

  it('with secure boot do not count, which libvirt is told to leave aside, nor SEV-ES without SEV, which it asks for too', () => {
    expect(firmwareOf(aDescriptor(['amd-sev', 'secure-boot', 'requires-smm']))).toEqual([])
    expect(firmwareOf(aDescriptor(['amd-sev-es', 'acpi-s3']))).toMatchObject([{ features: ['acpi-s3'] }])
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

    expect(allFeatures(files)).toEqual([])
  })

  it("of the operator override the distribution's of the same name, and hide them when empty", () => {
    const distribution = [
      { name: '50-ovmf.json', text: aDescriptor(['amd-sev']) },
      { name: '60-snp.json', text: aDescriptor(['amd-sev-snp'], IN_MEMORY) },
    ]

    expect(allFeatures([{ name: '60-snp.json', text: '' }], distribution)).toEqual(['amd-sev'])
    expect(allFeatures([{ name: '50-ovmf.json', text: aDescriptor(['amd-sev', 'amd-sev-es']) }], distribution)).toEqual(
      ['amd-sev', 'amd-sev-es', 'amd-sev-snp'],
    )
  })

  it('have SEV-SNP only where the first of them by name, which libvirt takes, is in memory: KVM gives such guests no flash', () => {
    const stateless = { mapping: { device: 'flash', mode: 'stateless' } }
    const flash = aDescriptor(['amd-sev', 'amd-sev-snp'], stateless)
    const inMemory = aDescriptor(['amd-sev-snp'], IN_MEMORY)

    expect(allFeatures([{ name: '60-flash.json', text: flash }])).toEqual(['amd-sev'])
    expect(allFeatures([{ name: '70-memory.json', text: inMemory }], [{ name: '60-flash.json', text: flash }])).toEqual(
      ['amd-sev'],
    )
    expect(
      allFeatures([
        { name: '60-flash.json', text: flash },
        { name: '50-memory.json', text: inMemory },
      ]),
    ).toEqual(['amd-sev', 'amd-sev-snp'])
    expect(allFeatures([{ name: '60-flash.json', text: inMemory }], [{ name: '60-flash.json', text: flash }])).toEqual([
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

    expect(allFeatures(files)).toEqual(['amd-sev'])
  })

  it('are read from the folders that QEMU names, where they are there; a link to nowhere hides', async () => {
    const root = await aFolder()
    for (const folder of ['etc/qemu/firmware', 'usr/share/qemu/firmware']) {
      await mkdir(join(root, folder), { recursive: true })
    }
    await symlink('/dev/null', join(root, 'etc/qemu/firmware/60-snp.json'))
    await writeFile(join(root, 'usr/share/qemu/firmware/60-snp.json'), aDescriptor(['amd-sev-snp']))
    await writeFile(join(root, 'usr/share/qemu/firmware/50-ovmf.json'), aDescriptor(['amd-sev']))

    expect(allFeatures(...(await readDescriptorFiles(root)).map((files) => [...files]))).toEqual(['amd-sev'])
    expect(await readDescriptorFiles(join(root, 'nowhere'))).toEqual([[], []])
  })
})
