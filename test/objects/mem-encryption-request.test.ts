import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import { memEncryptionRequest } from '../../src/objects/mem-encryption-request.ts'
import { launchFlavor, resourceRequest } from '../../src/objects/resource-request.ts'
import { aFlavor, anImage } from '../support/requests.ts'

type Specs = Readonly<Record<string, string>>
type Properties = ImageMeta['properties']

const UEFI = { hw_firmware_type: 'uefi' }
const ASKED = { 'hw:mem_encryption': 'true' }

function outcome(extraSpecs: Specs, properties: Properties = UEFI): string {
  try {
    const encryptions = memEncryptionRequest(aFlavor(extraSpecs), anImage(properties))
    const inWords = encryptions.map(({ model, policy, requested_by }) => `${model} ${policy} by ${requested_by}`)
    return inWords.join(', else ') || 'in clear'
  } catch (error) {
    return (error as { code: string }).code
  }
}

function refusal(extraSpecs: Specs, properties: Properties) {
  try {
    memEncryptionRequest(aFlavor(extraSpecs), anImage(properties))
  } catch (error) {
    const { code, message, details } = error as { code: string; message: string; details: Record<string, unknown> }
    return { code, message, details, fix: details.fix }
  }
  throw new Error('was not refused')
}

const SPELLED_TRUE = ['1', 't', 'T', 'true', 'True', 'TRUE', 'tRuE', 'on', 'ON', 'y', 'Y', 'yes', 'YES', ' true ']
const SPELLED_FALSE = ['0', 'f', 'F', 'false', 'False', 'FALSE', 'off', 'OFF', 'n', 'N', 'no', 'No', ' false ']
const JUNK = ['tru', '', ' ', '2', '-1', 'enabled', 'null', 'None', 'amd-sev', 'true,', 'ja', 'yes please']

/** Nova's table, with what its oslo.utils reads: rows are the flavor, columns the image. */
describe('memory encryption, from flavor and image: who asks', () => {
  const flavors = [
    { name: 'unset', values: [undefined] },
    { name: 'false', values: SPELLED_FALSE },
    { name: 'true', values: SPELLED_TRUE },
  ] as const
  const images = [
    { name: 'unset', values: [undefined, null] },
    { name: 'false', values: [...SPELLED_FALSE, false, 0] },
    { name: 'true', values: [...SPELLED_TRUE, true, 1] },
  ] as const
  const table: Record<string, Record<string, string>> = {
    unset: { unset: 'in clear', false: 'in clear', true: 'amd-sev 0x0033 by image' },
    false: { unset: 'in clear', false: 'in clear', true: 'FLAVOR_IMAGE_CONFLICT' },
    true: {
      unset: 'amd-sev 0x0033 by flavor',
      false: 'FLAVOR_IMAGE_CONFLICT',
      true: 'amd-sev 0x0033 by flavor and image',
    },
  }
  const rows = flavors.flatMap((flavor) =>
    images.map((image) => ({ flavor, image, expected: table[flavor.name]?.[image.name] })),
  )

  it.each(rows)('flavor $flavor.name, image $image.name, however spelled: $expected', ({ flavor, image, expected }) => {
    const outcomes = flavor.values.flatMap((written) =>
      image.values.map((property) =>
        outcome(written === undefined ? {} : { 'hw:mem_encryption': written }, {
          ...UEFI,
          ...(property !== undefined && { hw_mem_encryption: property }),
        }),
      ),
    )

    expect(new Set(outcomes)).toEqual(new Set([expected]))
  })

  it.each(JUNK)('refuses %j instead of booting in clear, whatever the other one says', (word) => {
    expect(outcome({ 'hw:mem_encryption': word })).toBe('INVALID_PROPERTY')
    expect(outcome({ 'hw:mem_encryption': word }, { ...UEFI, hw_mem_encryption: true })).toBe('INVALID_PROPERTY')
    expect(outcome({}, { ...UEFI, hw_mem_encryption: word })).toBe('INVALID_PROPERTY')
    expect(outcome(ASKED, { ...UEFI, hw_mem_encryption: word })).toBe('INVALID_PROPERTY')
  })

  it("takes the spec's low-level form as a request for exactly one slot", () => {
    const context = (amount: string, more: Specs = {}) => ({ 'resources:MEM_ENCRYPTION_CONTEXT': amount, ...more })

    expect(outcome(context('1'))).toBe('amd-sev 0x0033 by flavor')
    expect(outcome(context(' 1 ', ASKED))).toBe('amd-sev 0x0033 by flavor')
    expect(outcome(context('1', { 'hw:mem_encryption_model': 'amd-sev-es' }))).toBe('amd-sev-es 0x0037 by flavor')
    for (const amount of ['0', '2', '-1', '1.5', '01', 'one', '', 'true']) {
      expect(outcome(context(amount))).toBe('INVALID_PROPERTY')
      expect(outcome(context(amount, ASKED))).toBe('INVALID_PROPERTY')
    }
    expect(outcome(context('1', { 'hw:mem_encryption': 'false' }))).toBe('INVALID_PROPERTY')
    expect(outcome(context('1'), { ...UEFI, hw_mem_encryption: false })).toBe('FLAVOR_IMAGE_CONFLICT')
  })
})

describe('memory encryption, from flavor and image: which model', () => {
  const SNP = { ...UEFI, hw_firmware_stateless: true }
  const policies = { 'amd-sev': '0x0033', 'amd-sev-es': '0x0037', 'amd-sev-snp': '0x00030000' } as const
  const models = [undefined, 'amd-sev', 'amd-sev-es', 'amd-sev-snp'] as const
  const pairs = models.flatMap((flavor) => models.map((image) => ({ flavor, image })))

  it.each(pairs)('flavor $flavor, image $image: the one that is named, SEV when none is', ({ flavor, image }) => {
    const model = flavor ?? image ?? 'amd-sev'
    const isConflict = flavor !== undefined && image !== undefined && flavor !== image

    const asked = outcome(
      { ...ASKED, ...(flavor && { 'hw:mem_encryption_model': flavor }) },
      { ...SNP, ...(image && { hw_mem_encryption_model: image }) },
    )

    expect(asked).toBe(isConflict ? 'FLAVOR_IMAGE_CONFLICT' : `${model} ${policies[model]} by flavor`)
  })

  it('is the same when the image asks and either names the model', () => {
    const byImage = { ...SNP, hw_mem_encryption: 'yes' }

    expect(outcome({ 'hw:mem_encryption_model': 'amd-sev-es' }, byImage)).toBe('amd-sev-es 0x0037 by image')
    expect(outcome({}, { ...byImage, hw_mem_encryption_model: 'amd-sev-snp' })).toBe('amd-sev-snp 0x00030000 by image')
  })

  it.each(['intel-tdx', 'amd_sev', 'AMD-SEV', 'amd-sev ', 'sev', ''])('refuses the unknown model %j', (model) => {
    expect(outcome({ ...ASKED, 'hw:mem_encryption_model': model })).toBe('INVALID_PROPERTY')
    expect(outcome({}, { ...UEFI, hw_mem_encryption: true, hw_mem_encryption_model: model })).toBe('INVALID_PROPERTY')
  })

  it("reports two models that differ as the conflict they are, as Nova does, even when the flavor's is unknown", () => {
    expect(
      outcome({ ...ASKED, 'hw:mem_encryption_model': 'tdx' }, { ...UEFI, hw_mem_encryption_model: 'amd-sev' }),
    ).toBe('FLAVOR_IMAGE_CONFLICT')
  })

  it('refuses a model that nobody asked to use', () => {
    for (const no of [{}, { 'hw:mem_encryption': 'false' }] as Specs[]) {
      expect(outcome({ ...no, 'hw:mem_encryption_model': 'amd-sev' })).toBe('INVALID_PROPERTY')
      expect(outcome(no, { ...UEFI, hw_mem_encryption_model: 'amd-sev' })).toBe('INVALID_PROPERTY')
    }
  })
})

describe('memory encryption, from flavor and image: what an encrypted guest must have', () => {
  const asking: readonly [string, Specs, Properties][] = [
    ['flavor', ASKED, {}],
    ['image', {}, { hw_mem_encryption: true }],
    ['flavor and image', ASKED, { hw_mem_encryption: true }],
  ]
  const rows: readonly [string, Properties, string][] = [
    ['UEFI, machine type open', { hw_firmware_type: 'uefi' }, 'amd-sev 0x0033'],
    ['UEFI and q35', { ...UEFI, hw_machine_type: 'q35' }, 'amd-sev 0x0033'],
    ['a versioned q35', { ...UEFI, hw_machine_type: 'pc-q35-2.11' }, 'amd-sev 0x0033'],
    ["a distribution's q35", { ...UEFI, hw_machine_type: 'pc-q35-rhel9.2.0' }, 'amd-sev 0x0033'],
    ['BIOS', { hw_firmware_type: 'bios' }, 'FLAVOR_IMAGE_CONFLICT'],
    ['firmware left open', {}, 'FLAVOR_IMAGE_CONFLICT'],
    ['firmware null', { hw_firmware_type: null }, 'FLAVOR_IMAGE_CONFLICT'],
    ['firmware that is none', { hw_firmware_type: 'UEFI' }, 'INVALID_PROPERTY'],
    ['firmware left open and machine type pc', { hw_machine_type: 'pc' }, 'FLAVOR_IMAGE_CONFLICT'],
    ['machine type pc', { ...UEFI, hw_machine_type: 'pc' }, 'INVALID_MACHINE_TYPE'],
    ['a versioned pc', { ...UEFI, hw_machine_type: 'pc-i440fx-2.11' }, 'INVALID_MACHINE_TYPE'],
    ['microvm', { ...UEFI, hw_machine_type: 'microvm' }, 'INVALID_MACHINE_TYPE'],
    ['an empty machine type', { ...UEFI, hw_machine_type: '' }, 'INVALID_MACHINE_TYPE'],
    ['a name with q35 in it', { ...UEFI, hw_machine_type: 'notq35x' }, 'INVALID_MACHINE_TYPE'],
    ['a q35 of no version', { ...UEFI, hw_machine_type: 'pc-q35-' }, 'INVALID_MACHINE_TYPE'],
    ['a virtio-blk boot disk', { ...UEFI, hw_disk_bus: 'virtio' }, 'FLAVOR_IMAGE_CONFLICT'],
    ['an IDE boot disk', { ...UEFI, hw_disk_bus: 'ide' }, 'FLAVOR_IMAGE_CONFLICT'],
    ['a SATA boot disk', { ...UEFI, hw_disk_bus: 'sata' }, 'amd-sev 0x0033'],
    ['a SCSI boot disk', { ...UEFI, hw_disk_bus: 'scsi' }, 'amd-sev 0x0033'],
    ['an IDE CD-ROM', { ...UEFI, hw_cdrom_bus: 'ide' }, 'FLAVOR_IMAGE_CONFLICT'],
    ['a SATA CD-ROM', { ...UEFI, hw_cdrom_bus: 'sata' }, 'amd-sev 0x0033'],
  ]

  it.each(rows)('an image with %s, whoever asks', (_what, properties, expected) => {
    for (const [asker, specs, asked] of asking) {
      const result = outcome(specs, { ...properties, ...asked })

      expect(result).toBe(expected.startsWith('amd') ? `${expected} by ${asker}` : expected)
    }
  })

  it.each(rows)('an image with %s boots in clear when nobody asks', (_what, properties) => {
    expect(outcome({}, properties)).toBe('in clear')
  })

  it.each([
    [undefined, 'STATELESS_FIRMWARE_REQUIRED'],
    [null, 'STATELESS_FIRMWARE_REQUIRED'],
    [false, 'STATELESS_FIRMWARE_REQUIRED'],
    ['no', 'STATELESS_FIRMWARE_REQUIRED'],
    ['tru', 'INVALID_PROPERTY'],
    [true, 'amd-sev-snp 0x00030000 by flavor'],
    ['Yes', 'amd-sev-snp 0x00030000 by flavor'],
  ])('SEV-SNP on an image with hw_firmware_stateless=%s: %s', (stateless, expected) => {
    const specs = { ...ASKED, 'hw:mem_encryption_model': 'amd-sev-snp' }
    const image = { ...UEFI, ...(stateless !== undefined && { hw_firmware_stateless: stateless }) }

    expect(outcome(specs, image)).toBe(expected)
  })

  it('SEV and SEV-ES do not ask for stateless firmware', () => {
    expect(outcome({ ...ASKED, 'hw:mem_encryption_model': 'amd-sev-es' })).toBe('amd-sev-es 0x0037 by flavor')
  })

  it('of several faults tells the one that Nova tells: conflict, model, firmware, machine type, stateless', () => {
    const snp = { ...ASKED, 'hw:mem_encryption_model': 'amd-sev-snp' }

    expect(outcome(ASKED, { hw_mem_encryption: false, hw_machine_type: 'pc' })).toBe('FLAVOR_IMAGE_CONFLICT')
    expect(refusal(ASKED, { hw_mem_encryption: false }).message).toContain('hw_mem_encryption=false')
    expect(refusal(snp, { hw_machine_type: 'pc' }).message).toContain('hw_firmware_type=<unset>')
    expect(refusal(snp, { ...UEFI, hw_machine_type: 'pc' }).code).toBe('INVALID_MACHINE_TYPE')
    expect(refusal(snp, UEFI).code).toBe('STATELESS_FIRMWARE_REQUIRED')
  })

  it.each([
    'pci_passthrough:alias',
    'accel:device_profile',
    'resources:VGPU',
    'resources1:VGPU',
    'resources_GPU:PGPU',
    'resources:PCI_DEVICE',
    'resources:SRIOV_NET_VF',
    'resources:CUSTOM_PCI_10DE_1EB8',
  ])('refuses the host device that %s asks for, and leaves it to guests in clear', (spec) => {
    expect(outcome({ ...ASKED, [spec]: '1' })).toBe('FLAVOR_IMAGE_CONFLICT')
    expect(outcome({ [spec]: '1' }, { ...UEFI, hw_mem_encryption: true })).toBe('FLAVOR_IMAGE_CONFLICT')
    expect(outcome({ [spec]: '1' })).toBe('in clear')
  })

  it('takes a class of which none is asked for no device', () => {
    expect(outcome({ ...ASKED, 'resources:VGPU': '0' })).toBe('amd-sev 0x0033 by flavor')
  })
})

describe('memory encryption, from flavor and image: written where nobody reads it', () => {
  it.each([
    [{ 'resources1:MEM_ENCRYPTION_CONTEXT': '1' }, {}],
    [{ 'resources_sev:MEM_ENCRYPTION_CONTEXT': '1', 'hw:mem_encryption': 'true' }, {}],
    [{ 'resources:mem_encryption_context': '1' }, {}],
    [{ hw_mem_encryption: 'true' }, {}],
    [{ 'HW:MEM_ENCRYPTION': 'true' }, {}],
    [{ 'hw:mem_encryption ': 'true' }, {}],
    [{ 'hw:memory_encryption': 'true' }, {}],
    [{ 'hw:mem-encryption': 'true' }, {}],
    [{ mem_encryption: 'true' }, {}],
    [{ 'hw:mem_encrypted': 'true' }, {}],
    [{ 'hw:sev': 'true' }, {}],
    [{ 'hw:amd_sev_es': 'true' }, {}],
    [{ 'hw:launch_security': 'sev' }, {}],
    [{}, { 'hw:mem_encryption': 'true' }],
    [{}, { 'hw:mem_encryption_model': 'amd-sev' }],
    [{}, { 'resources:MEM_ENCRYPTION_CONTEXT': '1' }],
    [{}, { hw_memory_encryption: true }],
    [{}, { 'trait:HW_CPU_X86_AMD_SEV_SNP': 'required' }],
    [{ 'trait:HW_CPU_X86_AMD_SEV': 'required' }, {}],
    [{ 'trait:HW_CPU_AMD_SEV': 'required' }, {}],
    [{ 'trait1:HW_CPU_X86_AMD_SEV_ES': 'required' }, {}],
  ] as [Specs, Properties][])('refuses the misspelled request %j, %j', (specs, properties) => {
    expect(outcome(specs, { ...UEFI, ...properties })).toBe('INVALID_PROPERTY')
  })

  it.each(['hw:mem_encryption_policy', 'hw:sev_policy', 'hw:snp:policy', 'hw:launch_security:policy', 'sev_policy'])(
    'lets nobody configure a policy by %s, with or without a request',
    (key) => {
      for (const asked of [{}, ASKED] as Specs[]) {
        expect(refusal({ ...asked, [key]: '0x0001' }, UEFI)).toMatchObject({
          code: 'INVALID_PROPERTY',
          fix: 'remove it: every model has one fixed policy',
        })
        expect(outcome(asked, { ...UEFI, [key.replaceAll(':', '_')]: 1 })).toBe('INVALID_PROPERTY')
      }
    },
  )

  it.each([
    'hw:mem_page_size',
    'hw:cpu_policy',
    'hw_ephemeral_encryption',
    'hw:severity',
    'quota:sev',
    'os:secure_boot',
  ])('leaves %s alone', (key) => {
    expect(outcome({ [key]: 'x' })).toBe('in clear')
  })

  it('lets the trait of the model stand beside a request, and a forbidden one that contradicts nothing', () => {
    const sev = 'trait:HW_CPU_X86_AMD_SEV'

    expect(outcome({ ...ASKED, [sev]: 'required' })).toBe('amd-sev 0x0033 by flavor')
    expect(outcome({ ...ASKED, [`${sev}_ES`]: 'forbidden' })).toBe('amd-sev 0x0033 by flavor')
    expect(outcome({ [sev]: 'forbidden' })).toBe('in clear')
  })

  it('refuses a trait that contradicts the model: the guest would be weaker than its owner believes', () => {
    const sev = 'trait:HW_CPU_X86_AMD_SEV'

    expect(outcome({ ...ASKED, [`${sev}_ES`]: 'required' })).toBe('INVALID_PROPERTY')
    expect(outcome({ ...ASKED, [sev]: 'forbidden' })).toBe('INVALID_PROPERTY')
    expect(outcome({ 'resources:MEM_ENCRYPTION_CONTEXT': '1', [`${sev}_SNP`]: 'required' })).toBe('INVALID_PROPERTY')
    expect(outcome(ASKED, { ...UEFI, [`${sev}_ES`]: 'required' })).toBe('INVALID_PROPERTY')
  })

  it('takes what it has itself translated: the extra specs of a launch ask for the same once more', () => {
    const flavor = aFlavor({ ...ASKED, 'hw:mem_encryption_model': 'amd-sev-es' })
    const [encryption = null] = memEncryptionRequest(flavor, anImage(UEFI))

    expect(memEncryptionRequest(launchFlavor(flavor, encryption), anImage(UEFI))).toEqual([encryption])
  })
})

describe('memory encryption, from flavor and image: the words of a refusal', () => {
  const image = 'image linux (11111111-2222-3333-4444-555555555555)'

  it.each([
    [
      { 'hw:mem_encryption': 'off' },
      { ...UEFI, hw_mem_encryption: true },
      `flavor m1.test has hw:mem_encryption=off but ${image} has hw_mem_encryption=true; choose a flavor and an image that agree, or remove the property from one of them`,
    ],
    [
      { 'resources:MEM_ENCRYPTION_CONTEXT': '1' },
      { ...UEFI, hw_mem_encryption: 'No' },
      `flavor m1.test has resources:MEM_ENCRYPTION_CONTEXT=1 but ${image} has hw_mem_encryption=No; choose a flavor and an image that agree, or remove the property from one of them`,
    ],
    [
      { 'hw:mem_encryption': 'tru' },
      UEFI,
      'flavor m1.test has hw:mem_encryption="tru", which means nothing; write true or false',
    ],
    [
      { 'resources:MEM_ENCRYPTION_CONTEXT': '2' },
      UEFI,
      'flavor m1.test has resources:MEM_ENCRYPTION_CONTEXT="2", but a guest takes exactly one slot; write resources:MEM_ENCRYPTION_CONTEXT=1, or hw:mem_encryption=true instead',
    ],
    [
      { 'hw:mem_encryption': '0', 'resources:MEM_ENCRYPTION_CONTEXT': '1' },
      UEFI,
      'flavor m1.test has both resources:MEM_ENCRYPTION_CONTEXT=1 and hw:mem_encryption=0; remove one of the two',
    ],
    [
      { ...ASKED, 'hw:mem_encryption_model': 'amd-sev' },
      { ...UEFI, hw_mem_encryption_model: 'amd-sev-es' },
      `flavor m1.test has hw:mem_encryption_model=amd-sev but ${image} has hw_mem_encryption_model=amd-sev-es; choose a flavor and an image that agree on the model`,
    ],
    [
      {},
      { ...UEFI, hw_mem_encryption_model: 'amd-sev' },
      `${image} has hw_mem_encryption_model=amd-sev, but nobody asks for encryption; set hw_mem_encryption=true, or remove hw_mem_encryption_model`,
    ],
    [
      { 'hw:mem_encryption_model': 'amd-sev' },
      UEFI,
      'flavor m1.test has hw:mem_encryption_model=amd-sev, but nobody asks for encryption; set hw:mem_encryption=true, or remove hw:mem_encryption_model',
    ],
    [
      ASKED,
      {},
      `memory encryption was asked for by flavor m1.test, but ${image} has hw_firmware_type=<unset>, and encrypted guests boot with UEFI; set hw_firmware_type=uefi on the image`,
    ],
    [
      ASKED,
      { hw_firmware_type: 'bios', hw_mem_encryption: true },
      `memory encryption was asked for by flavor m1.test and ${image}, but ${image} has hw_firmware_type=bios, and encrypted guests boot with UEFI; set hw_firmware_type=uefi on the image`,
    ],
    [
      { ...ASKED, 'hw:mem_encryption_model': 'amd-sev-es' },
      { ...UEFI, hw_machine_type: 'pc' },
      `${image} has hw_machine_type=pc, but SEV-ES guests, asked for by flavor m1.test, need q35; set hw_machine_type=q35 on the image, or remove it`,
    ],
    [
      { ...ASKED, 'hw:mem_encryption_model': 'amd-sev-snp' },
      UEFI,
      `SEV-SNP, asked for by flavor m1.test, needs stateless firmware, but ${image} has hw_firmware_stateless=<unset>; set hw_firmware_stateless=true on the image`,
    ],
    [
      {},
      { ...UEFI, hw_mem_encryption: true, hw_machine_type: 'pc' },
      `${image} has hw_machine_type=pc, but SEV guests, asked for by ${image} with flavor m1.test, need q35; set hw_machine_type=q35 on the image, or remove it`,
    ],
    [
      ASKED,
      { ...UEFI, hw_disk_bus: 'virtio' },
      `${image} has hw_disk_bus=virtio, from which SEV guests, asked for by flavor m1.test, cannot boot; set hw_disk_bus=scsi with hw_scsi_model=virtio-scsi, or hw_disk_bus=sata, or remove it`,
    ],
    [
      ASKED,
      { ...UEFI, hw_cdrom_bus: 'ide' },
      `${image} has hw_cdrom_bus=ide, but SEV guests, asked for by flavor m1.test, run on q35, which has no IDE; set hw_cdrom_bus=sata or scsi, or remove it`,
    ],
    [
      { ...ASKED, 'pci_passthrough:alias': 'gpu:1' },
      UEFI,
      `flavor m1.test has pci_passthrough:alias=gpu:1, but devices of the host cannot be given to SEV guests (${image}); take a flavor without pci_passthrough:alias, or one and an image that do not ask for encryption`,
    ],
    [
      { 'trait:HW_CPU_X86_AMD_SEV_ES': 'required' },
      UEFI,
      'flavor m1.test has trait:HW_CPU_X86_AMD_SEV_ES=required, but nobody asks for encryption; for SEV-ES write hw:mem_encryption=true and hw:mem_encryption_model=amd-sev-es, or remove the trait',
    ],
    [
      { ...ASKED, 'trait:HW_CPU_X86_AMD_SEV': 'forbidden' },
      UEFI,
      'flavor m1.test has trait:HW_CPU_X86_AMD_SEV=forbidden, but the guest asks for amd-sev; remove it',
    ],
    [
      {},
      { ...UEFI, 'hw:mem_encryption': true },
      `${image} has hw:mem_encryption=true, which asks for no encryption here; write hw_mem_encryption=true, or remove it`,
    ],
    [
      { ...ASKED, 'hw:sev_policy': '0x1' },
      UEFI,
      'flavor m1.test has hw:sev_policy=0x1, but no policy can be chosen; remove it: every model has one fixed policy',
    ],
  ] as [Specs, Properties, string][])('%j with %j', (specs, properties, message) => {
    const { message: said, fix } = refusal(specs, properties)

    expect(said).toBe(message)
    expect(message).toContain(fix)
  })

  const id = '11111111-2222-3333-4444-555555555555'

  it.each([
    [
      { 'hw:mem_encryption': 'off' },
      { ...UEFI, hw_mem_encryption: 'on' },
      { flavor: 'm1.test', image: id, flavor_value: false, image_value: true },
    ],
    [
      { ...ASKED, 'hw:mem_encryption_model': 'tdx' },
      { ...UEFI, hw_mem_encryption_model: 'amd-sev' },
      { flavor: 'm1.test', image: id, flavor_value: 'tdx', image_value: 'amd-sev' },
    ],
    [
      { 'hw:mem_encryption': 'x'.repeat(80) },
      UEFI,
      { owner: 'flavor m1.test', property: 'hw:mem_encryption', value: 'x'.repeat(64) },
    ],
    [{}, { ...UEFI, hw_mem_encryption: 7 }, { owner: image, property: 'hw_mem_encryption', value: 7 }],
    [
      { 'resources:MEM_ENCRYPTION_CONTEXT': '2' },
      UEFI,
      { owner: 'flavor m1.test', property: 'resources:MEM_ENCRYPTION_CONTEXT', value: '2' },
    ],
    [
      { 'hw:mem_encryption': '0', 'resources:MEM_ENCRYPTION_CONTEXT': '1' },
      UEFI,
      { owner: 'flavor m1.test', property: 'hw:mem_encryption', value: '0' },
    ],
    [
      {},
      { ...UEFI, hw_mem_encryption_model: 'amd-sev' },
      { owner: image, property: 'hw_mem_encryption_model', value: 'amd-sev' },
    ],
    [ASKED, {}, { flavor: 'm1.test', image: id, property: 'hw_firmware_type', value: null, requested_by: 'flavor' }],
    [
      {},
      { hw_firmware_type: 'bios', hw_mem_encryption: true },
      { flavor: 'm1.test', image: id, property: 'hw_firmware_type', value: 'bios', requested_by: 'image' },
    ],
    [
      ASKED,
      { ...UEFI, hw_machine_type: 'pc' },
      { flavor: 'm1.test', image: id, property: 'hw_machine_type', value: 'pc' },
    ],
    [
      { ...ASKED, 'hw:mem_encryption_model': 'amd-sev-snp' },
      UEFI,
      { flavor: 'm1.test', image: id, property: 'hw_firmware_stateless', value: null, model: 'amd-sev-snp' },
    ],
    [
      { ...ASKED, 'hw:mem_encryption_model': 'amd-sev-snp' },
      { ...UEFI, hw_firmware_stateless: 'no' },
      { flavor: 'm1.test', image: id, property: 'hw_firmware_stateless', value: 'no', model: 'amd-sev-snp' },
    ],
    [ASKED, { ...UEFI, hw_disk_bus: 'ide' }, { flavor: 'm1.test', image: id, property: 'hw_disk_bus', value: 'ide' }],
    [ASKED, { ...UEFI, hw_cdrom_bus: 'ide' }, { flavor: 'm1.test', image: id, property: 'hw_cdrom_bus', value: 'ide' }],
    [
      { ...ASKED, 'resources:VGPU': '1' },
      UEFI,
      { flavor: 'm1.test', image: id, property: 'resources:VGPU', value: '1' },
    ],
    [{ 'hw:sev_policy': '0x1' }, UEFI, { owner: 'flavor m1.test', property: 'hw:sev_policy', value: '0x1' }],
    [
      {},
      { ...UEFI, 'trait:HW_CPU_X86_AMD_SEV': 'required' },
      { owner: image, property: 'trait:HW_CPU_X86_AMD_SEV', value: 'required' },
    ],
  ] as [Specs, Properties, Record<string, unknown>][])(
    'come with facts for programs: %j with %j',
    (specs, properties, facts) => {
      const { details, fix } = refusal(specs, properties)

      expect(details).toEqual({ ...facts, fix: expect.any(String) })
      expect(fix).not.toBe('')
    },
  )

  it.each([
    [{}, 'image <no-name> (<no-id>)'],
    [{ name: null, id: null }, 'image <no-name> (<no-id>)'],
    [{ name: 'linux' }, 'image linux (<no-id>)'],
  ])('name an image that has neither id nor name (boot from volume): %j', (more, label) => {
    const bare = { min_ram: 0, min_disk: 0, properties: { hw_machine_type: 'q35' }, ...more }

    expect(() => memEncryptionRequest(aFlavor(ASKED), bare)).toThrow(`${label} has hw_firmware_type=<unset>`)
    expect(memEncryptionRequest(aFlavor(ASKED), { ...bare, properties: UEFI })).toMatchObject([{ model: 'amd-sev' }])
  })
})

describe('memory encryption, from flavor and image: whatever is written', () => {
  it('never leaves a request without an answer: encrypted as asked, in clear because nobody asked, or refused by code', () => {
    const word = fc.oneof(fc.constantFrom('true', 'false', '1', 'no', 'amd-sev', 'amd-sev-es', 'tru', ''), fc.string())
    const specs = fc.dictionary(
      fc.constantFrom('hw:mem_encryption', 'hw:mem_encryption_model', 'resources:MEM_ENCRYPTION_CONTEXT'),
      word,
    )
    const properties = fc.dictionary(
      fc.constantFrom(
        'hw_mem_encryption',
        'hw_mem_encryption_model',
        'hw_firmware_type',
        'hw_machine_type',
        'hw_disk_bus',
      ),
      fc.oneof(word, fc.boolean(), fc.constant('uefi'), fc.constant('q35')),
    )

    fc.assert(
      fc.property(specs, properties, (extraSpecs, imageProperties) => {
        const asked = [
          extraSpecs['hw:mem_encryption'],
          extraSpecs['resources:MEM_ENCRYPTION_CONTEXT'],
          imageProperties.hw_mem_encryption,
        ].some((value) => value === true || ['1', 'true'].includes(String(value)))
        const result = outcome(extraSpecs, imageProperties)

        if (asked) expect(result).not.toBe('in clear')
        expect(result).toMatch(/^(in clear|amd-sev.* by .*|[A-Z_]+)$/)
      }),
    )
  })
})

describe('what a launch takes', () => {
  const encryption = { model: 'amd-sev-es', policy: '0x0037', requested_by: 'image' } as const

  it('is one slot of the pool with the trait, beside what the flavor has', () => {
    const flavor = aFlavor({}, { vcpus: 2, memory_mb: 4096, root_gb: 20, ephemeral_gb: 5, swap: 1500 })

    expect(resourceRequest(flavor, encryption)).toEqual({
      // 32 MiB more than the flavor: what QEMU pins beside the guest's own memory.
      root: { VCPU: 2, MEMORY_MB: 4128, DISK_GB: 27 },
      pinsMemory: true,
      pool: { trait: 'HW_CPU_X86_AMD_SEV_ES', resources: { MEM_ENCRYPTION_CONTEXT: 1 } },
    })
  })

  it('is no slot and no disk when the flavor has none', () => {
    expect(resourceRequest(aFlavor({}, { root_gb: 0 }), null)).toEqual({
      root: { VCPU: 1, MEMORY_MB: 1024 },
      pinsMemory: false,
    })
  })

  it('counts what an encrypted guest pins beside its own memory as the operator says, and for no other', () => {
    expect(resourceRequest(aFlavor(), encryption, { overheadMb: 0 }).root.MEMORY_MB).toBe(1024)
    expect(resourceRequest(aFlavor(), encryption, { overheadMb: 100 }).root.MEMORY_MB).toBe(1124)
    expect(resourceRequest(aFlavor(), null, { overheadMb: 100, locked: true })).toEqual({
      root: { VCPU: 1, MEMORY_MB: 1024, DISK_GB: 10 },
      pinsMemory: true,
    })
  })

  it('is visible in the extra specs of this launch, and not in the flavor', () => {
    const flavor = aFlavor({ 'quota:cpu_shares': '1' })

    expect(launchFlavor(flavor, encryption).extra_specs).toEqual({
      'quota:cpu_shares': '1',
      'resources:MEM_ENCRYPTION_CONTEXT': '1',
      'trait:HW_CPU_X86_AMD_SEV_ES': 'required',
    })
    expect(flavor.extra_specs).toEqual({ 'quota:cpu_shares': '1' })
    expect(launchFlavor(flavor, null)).toBe(flavor)
  })
})
