import type { HostReport } from '../../src/objects/host-report.ts'
import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { oneOf } from '../soak/random.ts'
import { aHostReport } from '../support/host-reports.ts'

type Slots = Partial<Record<MemEncryptionModel, number>>

export const REPORT_INTERVAL_MS = 10_000

/** A compute worker's part: it tells what its host has, and now and then that is something else. */
export class SimulatedHost {
  readonly name: string
  #vcpus = 6
  #memoryMb = 6144
  readonly #ramRatio: number
  #slots: Slots
  isAlive = true
  /** When it reports next. */
  dueMs = 0

  constructor(name: string, slots: Slots, ramRatio = 1) {
    this.name = name
    this.#slots = slots
    this.#ramRatio = ramRatio
  }

  report(): HostReport {
    return aHostReport(this.name, {
      vcpus: this.#vcpus,
      memoryMb: this.#memoryMb,
      diskGb: 100,
      ramRatio: this.#ramRatio,
      slots: this.#slots,
      report: { report_interval_seconds: REPORT_INTERVAL_MS / 1000 },
    })
  }

  /** It shrinks, grows, loses a model, or has another one. */
  change(random: () => number): string {
    const what = oneOf(random, ['vcpus', 'memory', 'slots', 'slots', 'models'] as const)
    if (what === 'vcpus') this.#vcpus = oneOf(random, [2, 4, 6, 8])
    else if (what === 'memory') this.#memoryMb = oneOf(random, [2048, 4096, 6144])
    else if (what === 'models') {
      this.#slots = oneOf<Slots>(random, [
        {},
        { 'amd-sev': 3 },
        { 'amd-sev': 2, 'amd-sev-es': 2 },
        { 'amd-sev-snp': 2 },
        { 'amd-sev': 1, 'amd-sev-es': 2, 'amd-sev-snp': 2 },
      ])
    } else {
      const models = Object.keys(this.#slots) as MemEncryptionModel[]
      const model = oneOf(random, models.length > 0 ? models : (['amd-sev'] as const))
      this.#slots = { ...this.#slots, [model]: oneOf(random, [1, 2, 3, 4]) }
    }
    return `${this.#vcpus} VCPU, ${this.#memoryMb} MiB, ${JSON.stringify(this.#slots)}`
  }
}

export function theHosts(): readonly SimulatedHost[] {
  return [
    new SimulatedHost('clear', {}),
    new SimulatedHost('sev', { 'amd-sev': 3 }),
    new SimulatedHost('es', { 'amd-sev': 2, 'amd-sev-es': 2 }, 1.5),
    new SimulatedHost('snp', { 'amd-sev-snp': 2 }),
    new SimulatedHost('either', { 'amd-sev': 1, 'amd-sev-es': 2, 'amd-sev-snp': 2 }),
  ]
}
