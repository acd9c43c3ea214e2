import { z } from 'zod'
import { MemEncryptionModel } from './mem-encryption.ts'

/** A guest on a host: what the hypervisor says, and what the worker there knows of it. */
export const GuestReport = z.object({
  /** As the hypervisor has it: of a guest that is not ours it may be any text. */
  uuid: z.string().max(255),
  state: z.string().max(64),
  /** What its live document has; null: it runs in clear. */
  model: MemEncryptionModel.nullable(),
  /** The latest try of this instance that came to this worker; null: none ever did. */
  attempt: z.int().min(1).nullable(),
  /** True: by the worker's own journal that try has left nothing here. */
  over: z.boolean(),
  /** What the worker is doing to it now. */
  work: z.enum(['build', 'termination', 'action']).nullable(),
})
export type GuestReport = z.infer<typeof GuestReport>

const KeyCount = z.object({
  /** Keys in use. */
  current: z.int().min(0),
  /** Keys that there are. */
  capacity: z.int().min(0),
})

/** Encryption keys as the kernel counts them: SEV's on one side, SEV-ES's and SEV-SNP's on the other. */
export const EncryptionKeys = z.object({ sev: KeyCount, sev_es: KeyCount })
export type EncryptionKeys = z.infer<typeof EncryptionKeys>
