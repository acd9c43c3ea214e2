import { describe, expect, it } from 'vitest'
import type { VmState } from '../../src/objects/instance.ts'
import { encryptionOfResize, hostToMoveFrom, refuseLostEncryption } from '../../src/objects/resize-rules.ts'
import { anInstance } from '../compute/support/instances.ts'
import { aFlavor, anImage } from '../support/requests.ts'

const withCode = (code: string) => expect.objectContaining({ code })
const at = (vm_state: VmState, changes: object = {}) => ({
  ...anInstance(),
  vm_state,
  task_state: null,
  host: 'h1',
  ...changes,
})
const sized = (changes: object, specs = {}) => aFlavor(specs, { flavorid: 'other', name: 'other', ...changes })

describe('an instance that is to be moved', () => {
  it.each([
    ['active', 'resize'],
    ['stopped', 'resize'],
    ['active', 'migrate'],
    ['stopped', 'migrate'],
    ['active', 'live-migration'],
  ] as const)('may be %s for %s', (vm_state, operation) => {
    expect(hostToMoveFrom(at(vm_state), operation)).toBe('h1')
  })

  it.each([
    [at('paused'), 'resize', 'is paused: resize needs an instance that is active or stopped, and at rest'],
    [at('stopped'), 'live-migration', 'is stopped: live-migration needs an instance that is active, and at rest'],
    [at('active', { task_state: 'rebooting' }), 'migrate', 'is active and busy (rebooting)'],
    [at('resized'), 'resize', 'decide first: sevbus resize-confirm'],
    [at('error', { host: null }), 'migrate', 'is error: migrate needs'],
  ] as const)('is refused otherwise, and told what would have to be (%#)', (instance, operation, words) => {
    expect(() => hostToMoveFrom(instance, operation)).toThrow(withCode('INSTANCE_INVALID_STATE'))
    expect(() => hostToMoveFrom(instance, operation)).toThrow(words)
  })
})

describe('the flavor that an instance is to have', () => {
  const encrypted = { ...at('active'), flavor: aFlavor({ 'hw:mem_encryption': 'true' }), image: anImage() }

  it('decides the encryption with the image, as at a boot', () => {
    expect(encryptionOfResize(encrypted, sized({}))).toBeNull()
    expect(
      encryptionOfResize(
        encrypted,
        sized({}, { 'hw:mem_encryption_model': 'amd-sev-es', 'hw:mem_encryption': 'true' }),
      ),
    ).toMatchObject({
      model: 'amd-sev-es',
    })
    const demanding = { ...encrypted, image: anImage({ ...anImage().properties, hw_mem_encryption: true }) }
    expect(encryptionOfResize(demanding, sized({}))).toMatchObject({ model: 'amd-sev', requested_by: 'image' })
    expect(() => encryptionOfResize(demanding, sized({}, { 'hw:mem_encryption': 'false' }))).toThrow(
      withCode('FLAVOR_IMAGE_CONFLICT'),
    )
  })

  it.each([
    ['root_gb', { root_gb: 9 }],
    ['root_gb', { root_gb: 0 }],
    ['ephemeral_gb', { root_gb: 20, ephemeral_gb: 1 }],
  ] as const)('has no smaller disk, %s', (field, changes) => {
    const instance = { ...encrypted, flavor: { ...encrypted.flavor, root_gb: 10, ephemeral_gb: 2 } }

    expect(() => encryptionOfResize(instance, sized({ ephemeral_gb: 2, ...changes }))).toThrow(
      expect.objectContaining({ code: 'CANNOT_RESIZE_DISK', details: expect.objectContaining({ property: field }) }),
    )
  })

  it('is another one than it has', () => {
    expect(() => encryptionOfResize(encrypted, { ...encrypted.flavor, vcpus: 2 })).toThrow(
      withCode('CANNOT_RESIZE_TO_SAME_FLAVOR'),
    )
  })

  it('is, where it keeps its own, still one that asks for the encryption that it has', () => {
    const sev = { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' } as const

    expect(() => refuseLostEncryption({ ...encrypted, mem_encryption: sev })).not.toThrow()
    expect(() => refuseLostEncryption({ ...encrypted, mem_encryption: null })).toThrow(withCode('INVALID_PROPERTY'))
  })
})
