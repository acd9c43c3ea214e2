import { encryptionLabel } from '../instance-view.ts'
import { notificationLine } from '../notification-view.ts'
import { print } from '../output.ts'
import type { DemoObserver } from './facts.ts'
import { summary } from './summary.ts'

/** One line per fact, for pipes and logs: every change of an instance, every refusal, every notification. */
export function plainScreen(): DemoObserver {
  const startedAt = performance.now()
  const say = (kind: string, text: string) => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(2)
    print(`${seconds.padStart(6)} s  ${kind.padEnd(9)} ${text}`)
  }
  return {
    step: (title) => say('step', title),
    instance(instance) {
      const { name, vm_state, task_state, host } = instance
      const state = task_state === null ? vm_state.toUpperCase() : `${vm_state.toUpperCase()} (${task_state})`
      say('instance', `${name} ${state} on ${host ?? 'no host'}, encryption ${encryptionLabel(instance)}`)
    },
    refusal: ({ name, code, message }) => say('refused', `${name} ${code}: ${message}`),
    notification: (facts) => say('billing', notificationLine(facts)),
    hosts() {},
    end: (facts) => print(summary(facts)),
  }
}
