import { cpuWeigher } from './cpu.ts'
import type { HostWeigher } from './host-weigher.ts'
import { memEncryptionContextWeigher } from './mem-encryption-context.ts'
import { ramWeigher } from './ram.ts'

export interface WeightMultipliers {
  readonly ram: number
  readonly cpu: number
  readonly memEncryptionContext: number
}

/**
 * RAM and CPU as in Nova. The slots count more than both together: else an idle host with slots would still draw
 * ordinary guests from a busy host without.
 */
const MULTIPLIERS: WeightMultipliers = { ram: 1, cpu: 1, memEncryptionContext: 3 }

export function defaultWeighers(multipliers: Partial<WeightMultipliers> = {}): readonly HostWeigher[] {
  const { ram, cpu, memEncryptionContext } = { ...MULTIPLIERS, ...multipliers }
  return [ramWeigher(ram), cpuWeigher(cpu), memEncryptionContextWeigher(memEncryptionContext)]
}
