import { describe, expect, it } from 'vitest'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import { launchProblems, launchRequest, requestOfMove } from '../../src/objects/launch-request.ts'
import { requestFlavor } from '../../src/objects/resource-request.ts'
import { aFlavor, anImage } from '../support/requests.ts'

const ASKED = { 'hw:mem_encryption': 'true' }
const UEFI = { hw_firmware_type: 'uefi' }
const STATELESS = { ...UEFI, hw_firmware_stateless: true }
const IMAGE = 'image linux (11111111-2222-3333-4444-555555555555)'

function modelled(models: string, more: Readonly<Record<string, string>> = {}) {
  return aFlavor({ ...ASKED, 'hw:mem_encryption_model': models, ...more })
}

function models(written: string, properties: ImageMeta['properties'] = STATELESS) {
  return launchRequest(modelled(written), anImage(properties)).choices.map(({ encryption }) => encryption?.model)
}

function problems(written: string, properties: ImageMeta['properties'] = STATELESS, more = {}) {
  return launchProblems(modelled(written, more), anImage(properties)).map(({ code, message }) => `${code} ${message}`)
}

describe('several models that will do', () => {
  it('are taken in the order in which they are written, blanks after commas or not', () => {
    expect(models('amd-sev-snp,amd-sev-es')).toEqual(['amd-sev-snp', 'amd-sev-es'])
    expect(models('amd-sev-es, amd-sev-snp')).toEqual(['amd-sev-es', 'amd-sev-snp'])
    expect(models('amd-sev , amd-sev-es,amd-sev-snp')).toEqual(['amd-sev', 'amd-sev-es', 'amd-sev-snp'])
  })

  it('are, for an instance that moves, those down to the one that it runs with, and never less', () => {
    const request = launchRequest(modelled('amd-sev-snp,amd-sev-es,amd-sev'), anImage(STATELESS))
    const running = request.choices.map(({ encryption }) => encryption ?? null)
    const moved = running.map((now) => requestOfMove(request, now).choices.map(({ encryption }) => encryption?.model))

    expect(moved).toEqual([['amd-sev-snp'], ['amd-sev-snp', 'amd-sev-es'], ['amd-sev-snp', 'amd-sev-es', 'amd-sev']])
    expect(() => requestOfMove(request, null)).toThrow(expect.objectContaining({ code: 'INVALID_PROPERTY' }))
  })

  it('have each its own policy, and its own rule whether memory is locked', () => {
    const { choices } = launchRequest(modelled('amd-sev-snp,amd-sev-es'), anImage(STATELESS))

    expect(choices).toEqual([
      {
        encryption: { model: 'amd-sev-snp', policy: '0x00030000', requested_by: 'flavor' },
        memoryBacking: { locked: false, pageSize: undefined },
      },
      {
        encryption: { model: 'amd-sev-es', policy: '0x0037', requested_by: 'flavor' },
        memoryBacking: { locked: true, pageSize: undefined },
      },
    ])
  })

  it('may be named by the image, or by both alike', () => {
    const named = { ...STATELESS, hw_mem_encryption_model: 'amd-sev-snp,amd-sev-es' }

    expect(models('amd-sev-snp, amd-sev-es', named)).toEqual(['amd-sev-snp', 'amd-sev-es'])
    expect(launchRequest(aFlavor(ASKED), anImage(named)).choices).toMatchObject([
      { encryption: { model: 'amd-sev-snp' } },
      { encryption: { model: 'amd-sev-es' } },
    ])
  })

  it.each([
    ['amd-sev-es,amd-sev-snp', 'another order'],
    ['amd-sev-snp', 'one of them only'],
    ['amd-sev-snp,amd-sev-es,amd-sev', 'one more'],
  ])('are a conflict when the image names %s: %s', (byImage) => {
    expect(problems('amd-sev-snp,amd-sev-es', { ...STATELESS, hw_mem_encryption_model: byImage })).toEqual([
      `FLAVOR_IMAGE_CONFLICT flavor m1.test has hw:mem_encryption_model=amd-sev-snp,amd-sev-es but ${IMAGE} has hw_mem_encryption_model=${byImage}; choose a flavor and an image that agree on the model`,
    ])
  })

  it.each([
    'amd-sev,',
    ',amd-sev',
    'amd-sev,,amd-sev-es',
    'amd-sev;amd-sev-es',
    'amd-sev,amd-sev',
    'amd-sev,tdx',
    ' , ',
  ])('are refused when they are written as %j', (written) => {
    expect(problems(written)).toEqual([
      `INVALID_PROPERTY flavor m1.test has hw:mem_encryption_model=${JSON.stringify(written)}, which means nothing; write one of amd-sev, amd-sev-es, amd-sev-snp, or several of them, each once and best first, with commas between`,
    ])
  })

  it('need what each of them needs, and the refusal says whose need it is', () => {
    expect(problems('amd-sev-es,amd-sev-snp', UEFI)).toEqual([
      `STATELESS_FIRMWARE_REQUIRED SEV-SNP, asked for by flavor m1.test, needs stateless firmware, but ${IMAGE} has hw_firmware_stateless=<unset>; set hw_firmware_stateless=true on the image, or leave amd-sev-snp out of the models`,
    ])
    expect(problems('amd-sev-es,amd-sev', { ...UEFI, hw_machine_type: 'pc' })).toEqual([
      `INVALID_MACHINE_TYPE ${IMAGE} has hw_machine_type=pc, but SEV-ES and SEV guests, asked for by flavor m1.test, need q35; set hw_machine_type=q35 on the image, or remove it`,
    ])
  })

  it('contradict a trait that speaks of one of them only', () => {
    const required = problems('amd-sev-es,amd-sev', UEFI, { 'trait:HW_CPU_X86_AMD_SEV_ES': 'required' })
    const forbidden = problems('amd-sev-es,amd-sev', UEFI, { 'trait:HW_CPU_X86_AMD_SEV': 'forbidden' })

    expect(required).toEqual([
      'INVALID_PROPERTY flavor m1.test has trait:HW_CPU_X86_AMD_SEV_ES=required, but the guest asks for amd-sev-es or amd-sev; for SEV-ES write hw:mem_encryption=true and hw:mem_encryption_model=amd-sev-es, or remove the trait',
    ])
    expect(forbidden).toEqual([
      'INVALID_PROPERTY flavor m1.test has trait:HW_CPU_X86_AMD_SEV=forbidden, but the guest asks for amd-sev-es or amd-sev; remove it',
    ])
    expect(problems('amd-sev-es,amd-sev', UEFI, { 'trait:HW_CPU_X86_AMD_SEV_SNP': 'forbidden' })).toEqual([])
  })

  it('are refused without a request, as one is', () => {
    const flavor = aFlavor({ 'hw:mem_encryption_model': 'amd-sev-snp, amd-sev-es' })

    expect(launchProblems(flavor, anImage(STATELESS)).map(({ message }) => message)).toEqual([
      'flavor m1.test has hw:mem_encryption_model=amd-sev-snp,amd-sev-es, but nobody asks for encryption; set hw:mem_encryption=true, or remove hw:mem_encryption_model',
    ])
  })

  it('become one slot of any of them in the flavor of the request, which reads as before', () => {
    const flavor = modelled('amd-sev-snp,amd-sev-es')
    const request = launchRequest(flavor, anImage(STATELESS))
    const asked = requestFlavor(
      flavor,
      request.choices.flatMap(({ encryption }) => encryption ?? []),
    )

    expect(asked.extra_specs).toEqual({ ...flavor.extra_specs, 'resources:MEM_ENCRYPTION_CONTEXT': '1' })
    expect(launchRequest(asked, anImage(STATELESS))).toEqual(request)
  })
})
