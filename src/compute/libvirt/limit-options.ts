import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'

/** The option of each model: Nova's for SEV, which has none for the others. */
export const LIMIT_OPTIONS: Readonly<Record<MemEncryptionModel, string>> = {
  'amd-sev': 'compute.num_memory_encrypted_guests',
  'amd-sev-es': 'compute.num_sev_es_encrypted_guests',
  'amd-sev-snp': 'compute.num_sev_snp_encrypted_guests',
}
