import pc from 'picocolors'
import type { HostSummary } from '../objects/host-report.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../objects/mem-encryption.ts'
import { MEM_ENCRYPTION_CONTEXT, MEMORY_MB, VCPU } from '../objects/resources.ts'
import { table } from './table.ts'

export function hostTable(hosts: readonly HostSummary[]): string {
  if (hosts.length === 0) return 'no host has reported yet'
  const rows = hosts.map((host) => [
    host.host,
    hostState(host),
    String(host.instances),
    ...(['amd-sev', 'amd-sev-es', 'amd-sev-snp'] as const).map((model) => slots(host, model)),
    use(host, VCPU),
    use(host, MEMORY_MB),
    host.default_machine_type,
  ])
  return table(['HOST', 'STATE', 'INSTANCES', 'SEV', 'SEV-ES', 'SEV-SNP', 'VCPU', 'MEMORY_MB', 'MACHINE'], rows)
}

/** `12/15`: slots in use of those that may be used; `-` where the host has none of this model. */
function slots(host: HostSummary, model: MemEncryptionModel): string {
  const pool = poolOf(host, model)
  return pool ? `${pool.used}/${pool.capacity}` : '-'
}

export function poolOf(host: HostSummary, model: MemEncryptionModel) {
  return host.providers.find((provider) => provider.model === model)?.inventories[MEM_ENCRYPTION_CONTEXT]
}

export function poolLabel(model: MemEncryptionModel): string {
  return MEM_ENCRYPTION_MODELS[model].label
}

function use(host: HostSummary, resource: string): string {
  const inventory = host.providers.find((provider) => provider.model === null)?.inventories[resource]
  return inventory ? `${inventory.used}/${inventory.capacity}` : '-'
}

function hostState({ state, disabled, disabled_reason: reason }: HostSummary): string {
  if (disabled) return pc.yellow(`disabled${reason ? ` (${reason})` : ''}`)
  return state === 'up' ? pc.green('up') : pc.red('down')
}
