import type { DomainOptions } from '../domain-options.ts'
import type { CpuSpec } from '../domain-spec.ts'
import type { Configurator } from './configurator.ts'

/** Nova's `virt_type`, `cpu_mode` and `cpu_models`, by whose defaults KVM guests have the host's model and others QEMU's. */
export const cpu: Configurator = (domain, { options }) => ({
  ...domain,
  virtType: options.virtType,
  cpu: cpuSpec(options),
})

function cpuSpec({ virtType, cpuMode, cpuModel }: DomainOptions): CpuSpec | undefined {
  const mode = cpuMode ?? (virtType === 'kvm' ? 'host-model' : 'none')
  if (mode === 'none') return undefined
  if (mode !== 'custom') return { mode }
  return cpuModel === undefined ? undefined : { mode, model: cpuModel }
}
