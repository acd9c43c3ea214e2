import { describe, expect, it } from 'vitest'
import { InstanceInvalidState, RebuildLosesEncryption } from '../../src/errors.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { hostToRebuildOn, leastOfRebuild } from '../../src/objects/rebuild-rules.ts'
import { anInstance } from '../compute/support/instances.ts'
import { anImage } from '../support/requests.ts'

const resting = (vm_state: Instance['vm_state'], more: Partial<Instance> = {}): Instance => ({
  ...anInstance(),
  vm_state,
  task_state: null,
  host: 'h1',
  ...more,
})
/** An instance in clear by its flavor, whose own image had asked for a model. */
const running = (model: MemEncryptionModel | null): Instance => ({
  ...resting('active'),
  mem_encryption: model && { model, policy: '0x0033', requested_by: 'image' },
})
const imageFor = (...models: readonly MemEncryptionModel[]) =>
  anImage({
    ...{ hw_firmware_type: 'uefi', hw_machine_type: 'q35', hw_firmware_stateless: true },
    ...(models.length > 0 && { hw_mem_encryption: true, hw_mem_encryption_model: models.join() }),
  })

describe('a rebuild', () => {
  it.each(['active', 'stopped', 'error'] as const)('is for an instance that is %s on a host', (vm_state) => {
    expect(hostToRebuildOn(resting(vm_state))).toBe('h1')
    expect(() => hostToRebuildOn(resting(vm_state, { host: null }))).toThrow(
      `is ${vm_state} and on no host: rebuild needs an instance that is active or stopped or error, on a host, and at rest; delete it and boot it anew`,
    )
  })

  it.each(['paused', 'suspended', 'rescued', 'resized', 'deleted'] as const)(
    'is refused while it is %s',
    (vm_state) => {
      expect(() => hostToRebuildOn(resting(vm_state))).toThrow(InstanceInvalidState)
    },
  )

  it('waits for what is done to the instance', () => {
    expect(() => hostToRebuildOn(resting('active', { task_state: 'rebooting' }))).toThrow('active and busy (rebooting)')
  })

  it('runs with no less than before: a lesser model of those that an image names is left out', () => {
    const least = (has: MemEncryptionModel | null, ...models: readonly MemEncryptionModel[]) =>
      leastOfRebuild(running(has), imageFor(...models), false)?.model

    expect(least(null)).toBeUndefined()
    expect(least(null, 'amd-sev')).toBe('amd-sev')
    expect(least('amd-sev', 'amd-sev-es')).toBe('amd-sev-es')
    expect(least('amd-sev-es', 'amd-sev-snp', 'amd-sev-es', 'amd-sev')).toBe('amd-sev-es')
    expect(least(null, 'amd-sev-snp', 'amd-sev-es', 'amd-sev')).toBe('amd-sev')
  })

  it('is refused when it would lose encryption, in words, unless somebody says that it may', () => {
    const snp = running('amd-sev-snp')

    expect(() => leastOfRebuild(snp, imageFor(), false)).toThrow(RebuildLosesEncryption)
    expect(() => leastOfRebuild(snp, imageFor(), false)).toThrow(/runs with SEV-SNP, and .* asks for no encryption; /)
    expect(() => leastOfRebuild(snp, imageFor('amd-sev', 'amd-sev-snp'), false)).toThrow('asks for SEV; ')
    expect(leastOfRebuild(snp, imageFor(), true)).toBeNull()
    expect(leastOfRebuild(snp, imageFor('amd-sev'), true)?.model).toBe('amd-sev')
  })

  it('is refused as a boot from that image would be', () => {
    const instance = { ...running(null), flavor: anInstance({ model: 'amd-sev' }).flavor }

    expect(() => leastOfRebuild(instance, anImage({ hw_machine_type: 'pc' }), false)).toThrow('hw_firmware_type')
  })
})
