import pc from 'picocolors'
import type { Instance } from '../objects/instance.ts'
import { MEM_ENCRYPTION_MODELS, MemEncryptionModel } from '../objects/mem-encryption.ts'
import { groupBy } from './group-by.ts'
import { facts, table } from './table.ts'

/** Instances as people read them. */
export function instanceTable(instances: readonly Instance[]): string {
  if (instances.length === 0) return 'no instances'
  const rows = instances.map((instance) => [
    instance.uuid,
    instance.name,
    colouredState(instance),
    instance.task_state ?? '-',
    instance.host ?? '-',
    encryptionLabel(instance),
    instance.flavor.name,
  ])
  return table(['UUID', 'NAME', 'STATE', 'TASK', 'HOST', 'ENCRYPTION', 'FLAVOR'], rows)
}

/** Those that failed alike are told of in one line: each message names its own instance, and says the same otherwise. */
export function failureLines(failed: readonly Instance[]): readonly string[] {
  const sameness = ({ uuid, fault }: Instance) => `${fault?.code}: ${fault?.message.replaceAll(uuid, '')}`
  return groupBy(failed, sameness).map(([{ name, fault }, ...others]) => {
    const more = others.length > 0 ? ` and ${others.length} more` : ''
    return `${name}${more}: ${fault?.code}: ${fault?.message}`
  })
}

export function instanceFacts(instance: Instance): string {
  const { mem_encryption: encryption, fault } = instance
  return facts([
    ['uuid', instance.uuid],
    ['name', instance.name],
    ['state', colouredState(instance) + (instance.task_state ? ` (${instance.task_state})` : '')],
    ['host', instance.host ?? '-'],
    [
      'encryption',
      encryption
        ? `${encryptionLabel(instance)}${policyOf(instance)}, asked for by ${encryption.requested_by}`
        : 'none',
    ],
    [
      'flavor',
      `${instance.flavor.name}: ${instance.flavor.vcpus} vCPU, ${instance.flavor.memory_mb} MiB, ${instance.flavor.root_gb} GiB disk`,
    ],
    ['extra specs', properties(instance.flavor.extra_specs)],
    ['zone', instance.availability_zone ?? 'any'],
    ...hintFacts(instance),
    ['image', instance.image.name ?? instance.image.id ?? '-'],
    ['image properties', properties(instance.image.properties)],
    ...deviceFacts(instance),
    ['created', instance.created_at],
    ['launched', instance.launched_at ?? '-'],
    ['terminated', instance.terminated_at ?? '-'],
    ...(fault ? [['fault', `${pc.red(fault.code)}: ${fault.message}`] as const] : []),
    ...(typeof fault?.details.fix === 'string' ? [['fix', fault.details.fix] as const] : []),
  ])
}

function deviceFacts({ volumes, interfaces }: Instance): readonly (readonly [string, string])[] {
  return [
    ...volumes.map(
      ({ volume_id, path, bus, device }) => ['volume', `${volume_id}: ${path} as ${device} on ${bus}`] as const,
    ),
    ...interfaces.map(({ mac, source }) => {
      const network = source === null ? "the host's network" : source.kind === 'bridge' ? source.bridge : source.network
      return ['interface', `${mac} on ${network}`] as const
    }),
  ]
}

function hintFacts({ scheduler_hints: hints }: Instance): readonly (readonly [string, string])[] {
  const { group, same_host, different_host } = hints
  return [
    ...(group === null ? [] : [['group', group] as const]),
    ...(same_host.length === 0 ? [] : [['same host as', same_host.join(' ')] as const]),
    ...(different_host.length === 0 ? [] : [['different host than', different_host.join(' ')] as const]),
  ]
}

/** What it runs with; before a host is found, and where none was, all that would do. */
export function encryptionLabel(instance: EncryptionFields): string {
  const { mem_encryption: encryption } = instance
  if (encryption === null) return '-'
  return openModels(instance)?.join(' or ') ?? MEM_ENCRYPTION_MODELS[encryption.model].label
}

type EncryptionFields = Pick<Instance, 'vm_state' | 'host' | 'mem_encryption' | 'flavor' | 'image'>

function policyOf(instance: Instance): string {
  return openModels(instance) ? '' : `, policy ${instance.mem_encryption?.policy}`
}

/** Undefined: only one was asked for, or one was chosen. */
function openModels({ vm_state, host, flavor, image }: EncryptionFields): readonly string[] | undefined {
  if (host !== null || (vm_state !== 'building' && vm_state !== 'error')) return undefined
  const models = MemEncryptionModel.options.length
  const named = String(flavor.extra_specs['hw:mem_encryption_model'] ?? image.properties.hw_mem_encryption_model ?? '')
  const labels = named.split(/ *, */, models).map((model) => labelOf(model))
  return labels.length > 1 ? labels : undefined
}

function labelOf(model: string): string {
  return MemEncryptionModel.safeParse(model).data ? MEM_ENCRYPTION_MODELS[model as MemEncryptionModel].label : model
}

function colouredState({ vm_state: state }: Pick<Instance, 'vm_state'>): string {
  const word = state.toUpperCase()
  if (state === 'active') return pc.green(word)
  if (state === 'error') return pc.red(word)
  return state === 'building' ? pc.yellow(word) : pc.dim(word)
}

function properties(values: Readonly<Record<string, unknown>>): string {
  const pairs = Object.entries(values).map(([key, value]) => `${key}=${value}`)
  return pairs.length > 0 ? pairs.join(' ') : '-'
}
