import { describe, expect, it } from 'vitest'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import { launchProblems } from '../../src/objects/launch-request.ts'
import { MemEncryption } from '../../src/objects/mem-encryption.ts'
import { aFlavor, anImage } from '../support/requests.ts'

const ASKED = { 'hw:mem_encryption': 'true' }
const UEFI = { hw_firmware_type: 'uefi' }
const IMAGE = 'image linux (11111111-2222-3333-4444-555555555555)'

function messages(specs: Record<string, string>, properties: ImageMeta['properties']): string[] {
  return launchProblems(aFlavor(specs), anImage(properties)).map(({ message }) => message)
}

describe('what is refused, word by word', () => {
  it.each([
    [
      {},
      { hw_firmware_stateless: 'yes' },
      `${IMAGE} has hw_firmware_stateless=yes but hw_firmware_type=<unset>; set hw_firmware_type=uefi too, or remove hw_firmware_stateless`,
    ],
    [
      {},
      { hw_firmware_stateless: true, hw_firmware_type: 'bios' },
      `${IMAGE} has hw_firmware_stateless=true but hw_firmware_type=bios; set hw_firmware_type=uefi too, or remove hw_firmware_stateless`,
    ],
    [
      {},
      { ...UEFI, hw_firmware_stateless: 'tru' },
      `${IMAGE} has hw_firmware_stateless="tru", which means nothing; write true or false`,
    ],
    [
      {},
      { hw_firmware_type: 'UEFI', hw_firmware_stateless: true },
      `${IMAGE} has hw_firmware_type="UEFI", which means nothing; write one of bios, uefi`,
    ],
    [
      { ...ASKED, 'hw:mem_encryption_model': 'sev' },
      UEFI,
      'flavor m1.test has hw:mem_encryption_model="sev", which means nothing; write one of amd-sev, amd-sev-es, amd-sev-snp, or several of them, each once and best first, with commas between',
    ],
    [
      { ' hw:mem.encryption': 'true' },
      {},
      'flavor m1.test has  hw:mem.encryption=true, which asks for no encryption here; write hw:mem_encryption=true, or remove it',
    ],
    [
      { 'hw::mem  encryption': 'true' },
      {},
      'flavor m1.test has hw::mem  encryption=true, which asks for no encryption here; write hw:mem_encryption=true, or remove it',
    ],
    [
      { 'hw:memencryption': 'true' },
      {},
      'flavor m1.test has hw:memencryption=true, which asks for no encryption here; write hw:mem_encryption=true, or remove it',
    ],
    [
      { 'resources:MEM_ENCRYPTION_CONTEXT': '1', 'hw:mem_encryption': 'yes' },
      { ...UEFI, hw_mem_encryption: false },
      `flavor m1.test has hw:mem_encryption=yes but ${IMAGE} has hw_mem_encryption=false; choose a flavor and an image that agree, or remove the property from one of them`,
    ],
    [
      {},
      { ...UEFI, 'trait:HW_CPU_X86_AMD_SEV_SNP': 'required' },
      `${IMAGE} has trait:HW_CPU_X86_AMD_SEV_SNP=required, but nobody asks for encryption; for SEV-SNP write hw_mem_encryption=true and hw_mem_encryption_model=amd-sev-snp, or remove the trait`,
    ],
  ] as [Record<string, string>, ImageMeta['properties'], string][])('%j with %j', (specs, properties, message) => {
    expect(messages(specs, properties)).toEqual([message])
  })

  it.each(['my_resources:VGPU', 'xtrait:HW_CPU_X86_AMD_SEV_ES', 'os:hw_sev', 'os:hw_launch_security'])(
    'leaves %s alone: its name only contains one that means something',
    (key) => {
      expect(messages({ ...ASKED, [key]: '1' }, UEFI)).toEqual([])
    },
  )

  it('of an image without an id, which a volume has a copy of, says where that is changed', () => {
    const ofVolume = { ...anImage({}), id: null, name: null }
    const snp = { ...ASKED, 'hw:mem_encryption_model': 'amd-sev-snp' }
    const where = 'on the image, or in the image properties of the volume it boots from'

    expect(launchProblems(aFlavor(snp), ofVolume).map(({ message }) => message)).toEqual([
      `memory encryption was asked for by flavor m1.test, but image <no-name> (<no-id>) has hw_firmware_type=<unset>, and encrypted guests boot with UEFI; set hw_firmware_type=uefi ${where}`,
      `SEV-SNP, asked for by flavor m1.test, needs stateless firmware, but image <no-name> (<no-id>) has hw_firmware_stateless=<unset>; set hw_firmware_stateless=true ${where}`,
    ])
  })

  it('of a lock by the image names the flavor, which has to change', () => {
    expect(messages({}, { hw_locked_memory: 'true' })).toEqual([
      `${IMAGE} has hw_locked_memory=true, but locked memory needs a page size, and flavor m1.test names none; set hw:mem_page_size on the flavor (small does), or remove the lock`,
    ])
  })

  it.each(['pci_passthrough:alias', 'accel:device_profile'])('of %s is told of guests in clear, too', (key) => {
    expect(messages({ [key]: 'gpu:1' }, {})).toEqual([
      `flavor m1.test has ${key}=gpu:1, but no host here gives a device of its own to a guest; remove it, or take a flavor without ${key}`,
    ])
    expect(messages({ ...ASKED, [key]: 'gpu:1' }, UEFI)).toHaveLength(1)
  })

  it('takes an amount with blanks about it for none, too', () => {
    expect(messages({ ...ASKED, 'resources:VGPU': ' 0 ' }, UEFI)).toEqual([])
  })

  it('names accelerators by the whole of their class', () => {
    for (const key of ['resources:ACCELERATOR_FPGA', 'resources:CUSTOM_ACCELERATOR_X'])
      expect(messages({ ...ASKED, [key]: '1' }, UEFI)[0]).toContain(`flavor m1.test has ${key}=1, but devices`)
  })

  it('takes no machine type for an open one, however the image service writes none', () => {
    expect(messages(ASKED, { ...UEFI, hw_machine_type: null })).toEqual([])
    expect(messages(ASKED, { ...UEFI, hw_machine_type: 'xpc-q35-7.2' })).toHaveLength(1)
  })

  it.each(['2MBx', 'x2MB', 'a2048', '1x5KB', 'MB', ''.padEnd(20, '9')])('%j is no page size', (size) => {
    expect(messages({ 'hw:mem_page_size': size }, {})[0]).toContain('which is no page size')
  })
})

describe('a decision as a message carries it', () => {
  it.each(['x0x0033', '0x0033x', '0x', '0033'])('has no policy that reads %j', (policy) => {
    expect(MemEncryption.safeParse({ model: 'amd-sev', policy, requested_by: 'flavor' }).success).toBe(false)
  })
})
