import { buildFailureWeigher } from './build-failure.ts'
import { cpuWeigher } from './cpu.ts'
import { diskWeigher } from './disk.ts'
import type { HostWeigher } from './host-weigher.ts'
import { ioOpsWeigher } from './io-ops.ts'
import { memEncryptionContextWeigher } from './mem-encryption-context.ts'
import { ramWeigher } from './ram.ts'
import { softAffinityWeigher, softAntiAffinityWeigher } from './server-group-soft-affinity.ts'

export interface WeightMultipliers {
  readonly ram: number
  readonly cpu: number
  readonly disk: number
  readonly ioOps: number
  readonly buildFailure: number
  readonly softAffinity: number
  readonly softAntiAffinity: number
  readonly memEncryptionContext: number
}

/**
 * Nova's, and that of the slots. These count more than all that tells an idle host from a busy one together (RAM, CPU,
 * disk, builds under way): else an idle host with slots would still draw ordinary guests from a busy host without.
 */
const MULTIPLIERS: WeightMultipliers = {
  ram: 1,
  cpu: 1,
  disk: 1,
  ioOps: -1,
  buildFailure: 1_000_000,
  softAffinity: 1,
  softAntiAffinity: 1,
  memEncryptionContext: 5,
}

export function defaultWeighers(multipliers: Partial<WeightMultipliers> = {}): readonly HostWeigher[] {
  const of = { ...MULTIPLIERS, ...multipliers }
  return [
    ramWeigher(of.ram),
    cpuWeigher(of.cpu),
    diskWeigher(of.disk),
    ioOpsWeigher(of.ioOps),
    buildFailureWeigher(of.buildFailure),
    softAffinityWeigher(of.softAffinity),
    softAntiAffinityWeigher(of.softAntiAffinity),
    memEncryptionContextWeigher(of.memEncryptionContext),
  ]
}
