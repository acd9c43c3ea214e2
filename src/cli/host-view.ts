import pc from 'picocolors'
import type { HostSummary } from '../objects/host-report.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../objects/mem-encryption.ts'
import { MEM_ENCRYPTION_CONTEXT, MEMORY_MB, VCPU } from '../objects/resources.ts'
import { facts, table } from './table.ts'

export function hostTable(hosts: readonly HostSummary[]): string {
  if (hosts.length === 0) return 'no host has reported yet'
  const rows = hosts.map((host) => [
    host.host,
    host.availability_zone,
    hostState(host),
    String(host.instances),
    ...(['amd-sev', 'amd-sev-es', 'amd-sev-snp'] as const).map((model) => slots(host, model)),
    use(host, VCPU),
    use(host, MEMORY_MB),
    host.default_machine_type,
  ])
  const head = ['HOST', 'ZONE', 'STATE', 'INSTANCES', 'SEV', 'SEV-ES', 'SEV-SNP', 'VCPU', 'MEMORY_MB', 'MACHINE']
  return [table(head, rows), ...hosts.flatMap(silent), ...hosts.flatMap(withheld)].join('\n')
}

function silent({ host, hypervisor_silence: silence }: HostSummary): readonly string[] {
  return silence === null ? [] : [`${host}: hypervisor silent since ${silence.since}: ${silence.reason}`]
}

/** Of a pool that is there and gives nothing, why: its numbers do not tell. */
function withheld(host: HostSummary): readonly string[] {
  return Object.entries(host.missing_models).flatMap(([model, reason]) =>
    poolOf(host, model)?.capacity === 0 ? [`${host.host}: no ${labelOf(model)}: ${reason}`] : [],
  )
}

/** `12/15`: slots in use of those that may be used; `-` where the host has none of this model. */
function slots(host: HostSummary, model: MemEncryptionModel): string {
  const pool = poolOf(host, model)
  return pool ? `${pool.used}/${pool.capacity}` : '-'
}

export function poolOf(host: HostSummary, model: string) {
  return host.providers.find((provider) => provider.model === model)?.inventories[MEM_ENCRYPTION_CONTEXT]
}

export function poolLabel(model: MemEncryptionModel): string {
  return MEM_ENCRYPTION_MODELS[model].label
}

function use(host: HostSummary, resource: string): string {
  const inventory = host.providers.find((provider) => provider.model === null)?.inventories[resource]
  return inventory ? `${inventory.used}/${inventory.capacity}` : '-'
}

/** `up`, `down (forced)`, `hypervisor silent`, `disabled (new memory)`, `down, disabled`: all that keeps new instances away. */
function hostState({ state, forced_down, fenced, disabled, disabled_reason: reason, ...host }: HostSummary): string {
  const off = disabled ? [pc.yellow(`disabled${reason ? ` (${reason})` : ''}`)] : []
  const down = fenced ? 'down (fenced)' : forced_down ? 'down (forced)' : 'down'
  if (state === 'down') return [pc.red(down), ...off].join(', ')
  if (host.hypervisor_silence !== null) return [pc.red('hypervisor silent'), ...off].join(', ')
  return off[0] ?? pc.green('up')
}

/** Everything about one host. */
export function hostFacts(host: HostSummary): string {
  const { failed_builds: failed, io_ops, missing_models: missing, hypervisor_silence: silence } = host
  const known = facts([
    ['host', host.host],
    ['state', hostState(host)],
    ['last report', host.last_seen_up],
    ['worker', host.worker ?? '-'],
    ['zone', host.availability_zone],
    ['aggregates', listed(host.aggregates)],
    ['instances', String(host.instances)],
    ['builds', `${io_ops === null ? 'not told' : `${io_ops} under way`}, ${failed} failed in a row`],
    ['hypervisor', `${host.hypervisor_type ?? '-'} on ${host.architecture ?? 'a processor that it does not tell'}`],
    ...(silence ? [['silent', `since ${silence.since}: ${silence.reason}`] as const] : []),
    ['machine type', `${host.default_machine_type} by default`],
    ...Object.entries(missing).map(([model, reason]) => [`no ${labelOf(model)}`, reason] as const),
  ])
  return `${known}\n\n${providerTable(host)}`
}

function providerTable({ providers }: HostSummary): string {
  const rows = providers.flatMap(({ name, traits, inventories }) =>
    Object.entries(inventories).map(([resource, { used, capacity, reserved, total, allocation_ratio: ratio }], n) => [
      n === 0 ? name : '',
      resource,
      `${used}/${capacity}`,
      String(total),
      String(reserved),
      ratio === undefined ? '-' : String(ratio),
      n === 0 ? listed(traits) : '',
    ]),
  )
  return table(['PROVIDER', 'RESOURCE', 'USED', 'TOTAL', 'RESERVED', 'RATIO', 'TRAITS'], rows)
}

function labelOf(model: string): string {
  return Object.hasOwn(MEM_ENCRYPTION_MODELS, model) ? poolLabel(model as MemEncryptionModel) : model
}

function listed(names: readonly string[]): string {
  return names.length > 0 ? names.join(', ') : '-'
}
