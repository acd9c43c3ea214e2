import pc from 'picocolors'
import { MEM_ENCRYPTION_MODELS } from '../../objects/mem-encryption.ts'
import type { MemoryPageSize } from '../../objects/memory-page-size.ts'
import { facts } from '../table.ts'
import type { AskedFor, HostJudgement, Judgement } from './judgement.ts'

/** The judgement as people read it. */
export function judgementText(
  { problems, request, host, alternatives }: Judgement,
  flavorSpecs: Readonly<Record<string, string>>,
) {
  const choices = request ? [{ request, host }, ...alternatives] : []
  const parts = [
    ...problems.map(({ code, message, fix }) => refusal(code, message, fix)),
    ...choices.flatMap((choice, index) => [
      ...(choices.length > 1 ? [pc.bold(choiceTitle(choice.request, index))] : []),
      requestText(choice.request, flavorSpecs),
      ...(choice.host ? [hostText(choice.host)] : []),
    ]),
  ]
  return parts.join('\n\n')
}

function choiceTitle({ mem_encryption }: AskedFor, index: number): string {
  const label = mem_encryption ? MEM_ENCRYPTION_MODELS[mem_encryption.model].label : 'in clear'
  return index === 0 ? `asked for first: ${label}` : `when no host can give that: ${label}`
}

function refusal(who: string, message: string, fix: string | null): string {
  const text = `${pc.red(`refused ${who}:`)} ${message}`
  return fix === null || message.includes(fix) ? text : `${text}\n${pc.bold('fix:')} ${fix}`
}

function requestText(
  { mem_encryption, placement, extra_specs, memory }: AskedFor,
  own: Readonly<Record<string, string>>,
) {
  const added = Object.entries(extra_specs).filter(([key]) => own[key] === undefined)
  const { overhead_mb: overhead, claimed_mb: claimed, flavor_mb: asked } = memory
  return facts([
    [
      'encryption',
      mem_encryption
        ? `${MEM_ENCRYPTION_MODELS[mem_encryption.model].label}, policy ${mem_encryption.policy}, asked for by ${mem_encryption.requested_by}`
        : 'none: the guest runs in clear',
    ],
    ['resources', pairs(Object.entries(placement.resources))],
    [
      'traits',
      [...placement.required_traits, ...placement.forbidden_traits.map((name) => `not ${name}`)].join(', ') || '-',
    ],
    ['added extra specs', pairs(added)],
    [
      'memory',
      overhead > 0 ? `${claimed} MiB: ${asked} of the flavor and ${overhead} that QEMU pins beside` : `${claimed} MiB`,
    ],
    ['locked', `${memory.locked ? 'yes' : 'no'}${memory.pinned ? '; never overcommitted' : ''}`],
    ['page size', pageSize(memory.page_size)],
  ])
}

function hostText({ host, takes_it, rejections }: HostJudgement): string {
  if (takes_it) return `${pc.green('taken')} by ${host}, when it has this much free`
  return rejections.map(({ by, reason, fix }) => refusal(`by ${host}, ${by}`, reason, fix)).join('\n')
}

function pairs(entries: readonly (readonly [string, string | number])[]): string {
  return entries.map(([key, value]) => `${key}=${value}`).join(' ') || '-'
}

function pageSize(size: MemoryPageSize | null): string {
  if (size === null) return "not asked for: the host's ordinary pages"
  return typeof size === 'string' ? size : `${size.kib} KiB`
}
