import { describe, expect, it } from 'vitest'
import { launchProblems } from '../../src/objects/launch-request.ts'
import { aFlavor, anImage } from '../support/requests.ts'

const ASKED = { 'hw:mem_encryption': 'true' }
const UEFI = { hw_firmware_type: 'uefi' }
const IMAGE = 'image linux (11111111-2222-3333-4444-555555555555)'

const problems = (specs: Record<string, string>, properties: Record<string, string>) =>
  launchProblems(aFlavor(specs), anImage(properties)).map(({ message }) => message)

const unread = (owner: string, key: string, value: string, request: string) =>
  `${owner} has ${key}=${value}, which asks for no encryption here; write ${request}, or remove it`
const noPolicy = (owner: string, key: string, value: string) =>
  `${owner} has ${key}=${value}, but no policy can be chosen; remove it: every model has one fixed policy`

describe('a key that can only mean encryption, where nobody reads it', () => {
  it.each([
    'hw:encryption',
    'hw:encryption_model',
    'hw:encrypted',
    'hw:guest_encryption',
    'hw:encrypted_memory',
    'hw:encrypt_memory',
    'hw:encrypt_mem',
    'encrypted_memory',
    'hw:mem_enc',
    'hw:mem_encyption',
    'hw:mem_ecryption',
    'hw:mem_encrpytion',
    'hw:mem_crypt',
    'hw:mem_encription',
    'hw:men_encryption',
    'hw:men_encription',
    'hw:nem_encryption',
    'hw:mme_encryption',
    'hw:mem_encryptoin',
    'hw:mem_emcrypsion',
    'hw:mem_incrypsion',
    'hw:mem_encription_model',
    'hw:mem_encription_mode',
    'hw:memory_encription',
    'hw:memory_encriptoin_model',
    'hwmem_encription',
    'mem_encription',
    'os:mem_encription',
    'hw:MemoryEncryption',
    'hw:ram_encryption',
    'hw/mem_encryption',
    'hw_mem-enc',
    'hw:confidential_vm',
    'sev',
    'SEV',
    'capabilities:sev',
    'capabilities:amd_sev',
    'capabilities:sev_es',
    'capabilities:amd_snp',
    'sev_es',
    'sev-snp',
    'sev_enabled',
    'amd_sev',
    'amd:sev',
    'amd_sev_snp',
    'amdsev',
    'amd_snp',
    'hw:sev',
    'hw:sevsnp',
    'hw:sev_snp',
    'hw:cpu_sev',
    'hw:amd_sev',
    'hw:x86_amd_sev_es',
    'hw:snp',
    'launchSecurity',
    'launch_security',
    'hw:launchSecurity',
    'libvirt:launchSecurity',
    'libvirt:sev',
    'resources:AMD_SEV_CONTEXT',
    'resources1:AMD_SEV_CONTEXT',
    'resources:mem_encryption_context',
    'trait:hw_cpu_x86_amd_sev',
    'trait:hw_cpu_x86_amd_sev_es',
    'trait:HW_CPU_X86_SEV',
    'trait:HW_CPU_X86_AMD_SEV_ESX',
  ])('%s is refused in a flavor and in an image, with and without a request', (key) => {
    const byFlavor = [unread('flavor m1.test', key, 'x', 'hw:mem_encryption=true')]
    const byImage = [unread(IMAGE, key, 'x', 'hw_mem_encryption=true')]

    expect(problems({ [key]: 'x' }, UEFI)).toEqual(byFlavor)
    expect(problems({ ...ASKED, [key]: 'x' }, UEFI)).toEqual(byFlavor)
    expect(problems({}, { ...UEFI, [key]: 'x' })).toEqual(byImage)
    expect(problems({}, { ...UEFI, [key.replaceAll(':', '_')]: 'x' })).toHaveLength(1)
  })

  it.each([
    'hw:policy',
    'hw:es_policy',
    'hw:guest_policy',
    'hw:snp_policy',
    'hw:sev-es-policy',
    'hw:launchSecurity:policy',
    'hw:SEV_POLICY',
    'hw:encryption_policy',
  ])('%s configures no policy, in a flavor or in an image', (key) => {
    const property = key.replaceAll(':', '_')

    expect(problems({ [key]: '0x1' }, UEFI)).toEqual([noPolicy('flavor m1.test', key, '0x1')])
    expect(problems({}, { ...UEFI, [property]: '0x1' })).toEqual([noPolicy(IMAGE, property, '0x1')])
  })
})

it('keys are told from each other however many others were looked at before', () => {
  for (let count = 0; count < 2100; count++) {
    const told = problems({ [`hw:mem_enc:${count}`]: 'x', [`hw:cpu_policy:${count % 7}`]: 'x' }, UEFI)
    expect(told).toEqual([unread('flavor m1.test', `hw:mem_enc:${count}`, 'x', 'hw:mem_encryption=true')])
  }
  expect(problems({ 'hw:mem_enc:1': 'x' }, UEFI)).toHaveLength(1)
})

describe("a key of Nova's, Glance's or Cinder's that has nothing to do with it", () => {
  it.each([
    'hw:cpu_policy',
    'hw:cpu_thread_policy',
    'hw:emulator_threads_policy',
    'hw:pci_numa_affinity_policy',
    'hw:mem_page_size_policy',
    'hw:ephemeral_encryption',
    'hw:ephemeral_encryption_format',
    'hw:tpm_model',
    'hw:tpm_encryption',
    'hw:volume_encryption',
    'hw:memory_description',
    'hw:men_in_option',
    'hw:mem_option',
    'mem_description',
    'hw:tpm_secret_security',
    'hw:vif_multiqueue_enabled',
    'hw:watchdog_action',
    'hw:pmu',
    'hw:severity',
    'hw:memory_sequence',
    'os:secure_boot_policy',
    'quota:vif_inbound_average',
    'aggregate_instance_extra_specs:sev',
    'aggregate_instance_extra_specs:amd_sev',
    'capabilities:cpu_info:features',
    'group_policy',
  ])('a flavor may have %s', (key) => {
    expect(problems({ [key]: 'x' }, UEFI)).toEqual([])
  })

  it.each([
    'hw_cpu_policy',
    'hw_cpu_thread_policy',
    'hw_emulator_threads_policy',
    'hw_pci_numa_affinity_policy',
    'hw_tpm_model',
    'hw_tpm_version',
    'hw_ephemeral_encryption',
    'hw_ephemeral_encryption_format',
    'hw_ephemeral_encryption_secret_uuid',
    'cinder_encryption_key_id',
    'cinder_encryption_key_deletion_policy',
    'os_encrypt_format',
    'os_encrypt_key_id',
    'os_encrypt_key_deletion_policy',
    'os_decrypt_container_format',
    'img_signature',
    'img_signature_certificate_uuid',
    'img_signature_hash_method',
    'img_signature_key_type',
    'os_distro',
    'os_require_quiesce',
    'os_command_line',
    'os_snapshot_policy',
    'snapshot_id',
    'several',
    'essence',
  ])('an image may have %s', (key) => {
    expect(problems({}, { ...UEFI, [key]: 'x' })).toEqual([])
  })
})
