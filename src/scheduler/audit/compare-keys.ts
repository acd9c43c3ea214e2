import type { EncryptionKeys } from '../../objects/guest-report.ts'
import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import type { Finding } from './finding.ts'
import type { Evidence, HostLook } from './observation.ts'

/** SEV-ES and SEV-SNP share keys: the kernel counts one side for both. */
const SIDES: readonly {
  readonly side: keyof EncryptionKeys
  readonly label: string
  models: readonly MemEncryptionModel[]
}[] = [
  { side: 'sev', label: 'SEV', models: ['amd-sev'] },
  { side: 'sev_es', label: 'SEV-ES and SEV-SNP', models: ['amd-sev-es', 'amd-sev-snp'] },
]

/** A guest that stands still keeps its key. */
const HOLDS_KEY: readonly string[] = ['running', 'paused']

/**
 * Does the kernel count as many keys in use as there are guests that hold one? Not asked of a host that starts or ends
 * guests now: QEMU takes its key before the guest runs, and gives it back after it is gone.
 */
export function keyFindings(evidence: Evidence, host: string, look: HostLook): readonly Finding[] {
  if (!look.answered || look.keys === null || look.busy > 0 || !evidence.judges(host)) return []
  return SIDES.flatMap((side) => [...miscounted(host, look, side), ...overOffered(evidence, host, look.keys, side)])
}

type Side = (typeof SIDES)[number]

function miscounted(
  host: string,
  look: HostLook & { answered: true },
  { side, label, models }: Side,
): readonly Finding[] {
  const counted = look.keys?.[side].current ?? 0
  const holders = look.guests.filter(
    ({ state, model }) => HOLDS_KEY.includes(state) && model !== null && models.includes(model),
  ).length
  if (counted === holders) return []
  const more = counted - holders
  return [
    {
      ...aboutHost(host),
      problem: `keys for ${label} in use: ${counted} by the kernel's count, ${holders} by the guests that run`,
      numbers: { counted, guests: holders, capacity: look.keys?.[side].capacity ?? 0 },
      advice:
        more > 0
          ? `no hypervisor shows who holds ${more} of them: look for QEMU processes that stayed behind (misc.current of each group below /sys/fs/cgroup leads there)`
          : `guests that say they are encrypted hold no key: do not trust any here before you have compared them with QEMU's command lines`,
    },
  ]
}

/** More slots than keys: guests that are promised one would fail to start, one host after the other. */
function overOffered(evidence: Evidence, host: string, keys: EncryptionKeys | null, { side, label, models }: Side) {
  const offered = evidence
    .inventoriesOf(host)
    .filter((each) => each.offered && each.model !== undefined && models.includes(each.model))
    .reduce((sum, { capacity }) => sum + capacity, 0)
  const capacity = keys?.[side].capacity ?? 0
  if (offered <= capacity) return []
  return [
    {
      ...aboutHost(host),
      problem: `the host offers ${offered} slots for ${label}, and its kernel has ${capacity} keys`,
      numbers: { offered, capacity },
      advice: `cap what is offered at ${capacity} (compute.num_memory_encrypted_guests, num_sev_es_…, num_sev_snp_…)`,
    },
  ]
}

function aboutHost(host: string) {
  return { kind: 'key_count', host, uuid: undefined, instance: undefined, version: [], repair: undefined } as const
}
