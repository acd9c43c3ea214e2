import { stripVTControlCharacters } from 'node:util'
import pc from 'picocolors'
import type { HostSummary } from '../../objects/host-report.ts'
import type { Instance } from '../../objects/instance.ts'
import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { poolLabel, poolOf } from '../host-view.ts'
import { type BillingFacts, notificationLine } from '../notification-view.ts'
import { print } from '../output.ts'
import { alikeRefusals } from './alike.ts'
import type { DemoObserver, Refusal } from './facts.ts'
import { summary } from './summary.ts'

const FRAME_MS = 80
const NOTIFICATIONS_SHOWN = 6
const MODELS: readonly MemEncryptionModel[] = ['amd-sev', 'amd-sev-es', 'amd-sev-snp']

/** Draws everything in place on a terminal, and leaves the summary behind. */
export function liveScreen(out: NodeJS.WriteStream): DemoObserver {
  const view: View = { steps: [], hosts: [], instances: new Map(), refusals: [], notifications: [] }
  let drawn = 0
  const erase = () => (drawn > 0 ? `\x1b[${drawn}F\x1b[0J` : '')
  const draw = () => {
    const lines = frame(view, Math.max(10, (out.rows ?? 40) - 2))
    out.write(`${erase()}${lines.map((line) => clip(line, out.columns ?? 100)).join('\n')}\n`)
    drawn = lines.length
  }
  const timer = setInterval(draw, FRAME_MS)
  return {
    step: (title) => void view.steps.push({ title, names: [], refused: 0 }),
    instance(instance, before) {
      if (before === undefined) view.steps.at(-1)?.names.push(instance.uuid)
      view.instances.set(instance.uuid, instance)
    },
    refusal(refusal) {
      view.refusals.push(refusal)
      const step = view.steps.at(-1)
      if (refusal.instance_uuid === null && step) step.refused += 1
    },
    notification: (facts) => void view.notifications.push(facts),
    hosts(hosts) {
      view.hosts = hosts
    },
    end(facts) {
      clearInterval(timer)
      draw()
      out.write(erase())
      print(progressLines(view).join('\n'))
      print(summary(facts))
    },
  }
}

interface View {
  readonly steps: { readonly title: string; readonly names: string[]; refused: number }[]
  hosts: readonly HostSummary[]
  readonly instances: Map<string, Instance>
  readonly refusals: Refusal[]
  readonly notifications: BillingFacts[]
}

/** The hosts and the instances always; the rest as far as the terminal has rows for it, the latest first. */
function frame(view: View, rows: number): string[] {
  if (view.hosts.length === 0) return [pc.dim('starting a conductor, a scheduler and five hosts …')]
  const top = [pc.bold('hosts'), ...view.hosts.map(hostLine), '', ...progressLines(view), '']
  const left = Math.max(0, rows - top.length - 3)
  const billing = view.notifications.slice(-Math.max(1, Math.min(NOTIFICATIONS_SHOWN, Math.floor(left / 2))))
  const refused = alikeRefusals(view.refusals).flatMap(({ names, refusal }) => refusalLines(names, refusal))
  return [
    ...top,
    pc.bold(`billing (${view.notifications.length} notifications)`),
    ...billing.map((facts) => `  ${notificationLine(facts)}`),
    '',
    pc.bold(`refused (${view.refusals.length})`),
    ...refused.slice(-Math.max(0, left - billing.length)),
  ].slice(0, rows)
}

function hostLine(host: HostSummary): string {
  const pools = MODELS.flatMap((model) => {
    const pool = poolOf(host, model)
    if (pool === undefined) return []
    const full = pool.used >= pool.capacity ? pc.red : pc.green
    return [
      `${poolLabel(model)} ${full('■'.repeat(pool.used))}${pc.dim('□'.repeat(pool.capacity - pool.used))} ${pool.used}/${pool.capacity}`,
    ]
  })
  return `  ${host.host.padEnd(9)} ${String(host.instances).padStart(2)} guests  ${pools.join('   ') || pc.dim('no encryption slots')}`
}

/** A dot for each instance: waiting for a host, starting on one, ACTIVE, ERROR, deleted. */
function progressLines({ steps, instances }: View): string[] {
  return [
    pc.bold('instances') + pc.dim('   · no host yet   ◐ starting   ● active   ✖ refused   ○ deleted'),
    ...steps.map(({ title, names, refused }) => {
      const dots = names.map((uuid) => dot(instances.get(uuid) as Instance)).join('') + pc.red('✖'.repeat(refused))
      return `  ${title.padEnd(48)} ${dots}`
    }),
  ]
}

function dot({ vm_state, task_state }: Instance): string {
  if (vm_state === 'active') return task_state === 'deleting' ? pc.dim('●') : pc.green('●')
  if (vm_state === 'error') return pc.red('✖')
  if (vm_state === 'deleted') return pc.dim('○')
  return task_state === 'spawning' ? pc.yellow('◐') : pc.dim('·')
}

function refusalLines(names: string, { code, message, report }: Refusal): string[] {
  if (report === null) return [`  ${names} ${pc.red(code)}: ${message}`]
  const reasons = report.rejections.map(({ host, reason }) => `    ${host.padEnd(9)} ${pc.dim(reason)}`)
  return [`  ${names} ${pc.red(code)}`, ...reasons]
}

/** No wider than the terminal: a line that wraps would spoil the drawing. Colours are dropped where it is cut. */
function clip(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line)
  return plain.length <= columns ? line : `${plain.slice(0, columns - 1)}…`
}
