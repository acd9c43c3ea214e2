import { closedBy } from '../encryption-mode.ts'
import type { HostFilter } from './host-filter.ts'

/** Drops hosts that run guests of the model which excludes the one that is asked for: SEV-ES and SEV-SNP. */
export const memEncryptionMode: HostFilter = {
  name: 'MemEncryptionMode',
  fix: 'delete the instances of the other model there, ask for that model, or add a host',
  reject: (host, { spec }) => (spec.mem_encryption === null ? undefined : closedBy(host, spec.mem_encryption.model)),
}
