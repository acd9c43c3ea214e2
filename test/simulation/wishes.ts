import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import type { RequestSpec } from '../../src/objects/request-spec.ts'
import type { ServerGroupPolicy } from '../../src/objects/server-group.ts'
import { aFlavor, anImage } from '../support/requests.ts'

/** A server group: what its policy allows must hold whoever claims. */
export interface Group {
  readonly uuid: string
  readonly policy: ServerGroupPolicy
}

const TOGETHER: Group = { uuid: '00000000-0000-4000-9000-000000000001', policy: 'affinity' }
const APART: Group = { uuid: '00000000-0000-4000-9000-000000000002', policy: 'anti-affinity' }
const SOFTLY_TOGETHER: Group = { uuid: '00000000-0000-4000-9000-000000000003', policy: 'soft-affinity' }
const SOFTLY_APART: Group = { uuid: '00000000-0000-4000-9000-000000000004', policy: 'soft-anti-affinity' }
export const GROUPS: readonly Group[] = [TOGETHER, APART, SOFTLY_TOGETHER, SOFTLY_APART]

/** What somebody wants to run, and what that takes by our own arithmetic. */
export interface Wish {
  readonly name: string
  /** Best first; none: in clear. */
  readonly models: readonly MemEncryptionModel[]
  readonly zone: string | null
  readonly group: Group | null
  readonly takes: Readonly<Record<string, number>>
  readonly pins: boolean
  readonly flavor: RequestSpec['flavor']
  readonly image: RequestSpec['image']
}

interface Size {
  readonly vcpus: number
  readonly memory_mb: number
  readonly root_gb: number
}

const SMALL: Size = { vcpus: 1, memory_mb: 512, root_gb: 5 }
const LARGE: Size = { vcpus: 3, memory_mb: 1536, root_gb: 20 }
/** What an encrypted guest pins beside its own memory, in MiB. */
const OVERHEAD_MB = 32

interface Where {
  readonly zone?: string
  readonly group?: Group
}

function aWish(name: string, { vcpus, memory_mb, root_gb }: Size, models: string, where: Where = {}): Wish {
  const isEncrypted = models !== ''
  const specs: Record<string, string> = isEncrypted
    ? { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': models }
    : {}
  return {
    name,
    models: isEncrypted ? (models.split(',') as MemEncryptionModel[]) : [],
    zone: where.zone ?? null,
    group: where.group ?? null,
    takes: { VCPU: vcpus, MEMORY_MB: memory_mb + (isEncrypted ? OVERHEAD_MB : 0), DISK_GB: root_gb },
    pins: isEncrypted,
    flavor: aFlavor(specs, { vcpus, memory_mb, root_gb }),
    image: anImage({ hw_firmware_type: 'uefi', hw_machine_type: 'q35', hw_firmware_stateless: true }),
  }
}

export const WISHES: readonly Wish[] = [
  aWish('small', SMALL, ''),
  aWish('large', LARGE, ''),
  aWish('small in east', SMALL, '', { zone: 'east' }),
  aWish('small together', SMALL, '', { group: TOGETHER }),
  aWish('small apart', SMALL, '', { group: APART }),
  aWish('SEV softly together', SMALL, 'amd-sev', { group: SOFTLY_TOGETHER }),
  aWish('small softly apart', SMALL, '', { group: SOFTLY_APART }),
  aWish('SEV apart', SMALL, 'amd-sev', { group: APART }),
  aWish('SEV', SMALL, 'amd-sev'),
  aWish('SEV in east', SMALL, 'amd-sev', { zone: 'east' }),
  aWish('large SEV', LARGE, 'amd-sev'),
  aWish('ES', SMALL, 'amd-sev-es'),
  aWish('SNP', SMALL, 'amd-sev-snp'),
  aWish('SNP or ES', SMALL, 'amd-sev-snp,amd-sev-es'),
  aWish('ES or SEV', SMALL, 'amd-sev-es,amd-sev'),
  aWish('SNP or ES or SEV', SMALL, 'amd-sev-snp,amd-sev-es,amd-sev'),
]
