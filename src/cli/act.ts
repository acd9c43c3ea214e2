import { setTimeout as sleep } from 'node:timers/promises'
import type { Instance } from '../objects/instance.ts'
import type { ActionRecord } from '../objects/instance-action.ts'
import { type Ask, askEach, exitCodeOf, printAnswers } from './ask-each.ts'
import { EXIT } from './exit-codes.ts'
import { note } from './output.ts'
import { type GlobalOptions, type Session, withSession } from './session.ts'

/** How often the state is asked for while waiting, in milliseconds. */
const POLL_MS = 250

export interface ActOptions extends GlobalOptions {
  readonly wait?: boolean
}

export interface StopOptions extends ActOptions {
  readonly hard?: boolean
}

export function start(words: readonly string[], options: ActOptions): Promise<number> {
  return act(words, options, ({ conductor, context }, instance_uuid) =>
    conductor.startInstance(context, { instance_uuid }),
  )
}

export function stop(words: readonly string[], options: StopOptions): Promise<number> {
  return act(words, options, ({ conductor, context }, instance_uuid) =>
    conductor.stopInstance(context, { instance_uuid, clean_shutdown: !options.hard }),
  )
}

export function reboot(words: readonly string[], options: StopOptions): Promise<number> {
  const reboot_type = options.hard ? 'HARD' : 'SOFT'
  return act(words, options, ({ conductor, context }, instance_uuid) =>
    conductor.rebootInstance(context, { instance_uuid, reboot_type }),
  )
}

export function pause(words: readonly string[], options: ActOptions): Promise<number> {
  return act(words, options, ({ conductor, context }, instance_uuid) =>
    conductor.pauseInstance(context, { instance_uuid }),
  )
}

export function unpause(words: readonly string[], options: ActOptions): Promise<number> {
  return act(words, options, ({ conductor, context }, instance_uuid) =>
    conductor.unpauseInstance(context, { instance_uuid }),
  )
}

export function suspend(words: readonly string[], options: ActOptions): Promise<number> {
  return act(words, options, ({ conductor, context }, instance_uuid) =>
    conductor.suspendInstance(context, { instance_uuid }),
  )
}

export function resume(words: readonly string[], options: ActOptions): Promise<number> {
  return act(words, options, ({ conductor, context }, instance_uuid) =>
    conductor.resumeInstance(context, { instance_uuid }),
  )
}

export function unrescue(words: readonly string[], options: ActOptions): Promise<number> {
  return act(words, options, ({ conductor, context }, instance_uuid) =>
    conductor.unrescueInstance(context, { instance_uuid }),
  )
}

/** @returns the exit code: refused when it was waited for, and an action failed; else that of the first that was refused */
export function act(words: readonly string[], options: ActOptions, ask: Ask): Promise<number> {
  return withSession(options, async (session) => {
    const answers = await askEach(session, words, ask)
    const { accepted } = answers
    const ends = options.wait ? await Promise.all(accepted.map((instance) => rested(session, instance))) : []
    const instances = options.wait ? ends.map(({ instance }) => instance) : accepted
    printAnswers(instances, answers, options)
    const failed = ends.filter(({ action }) => action?.status !== 'completed')
    if (!options.json) for (const end of failed) note(failure(end))
    return failed.length > 0 ? EXIT.REFUSED : exitCodeOf(answers)
  })
}

interface End {
  readonly instance: Instance
  readonly action: ActionRecord | undefined
}

function failure({ instance, action }: End): string {
  const why = action?.fault ? `${action.fault.code}: ${action.fault.message}` : 'something else took its place'
  return `${instance.name}: ${action?.action.name} ${action?.status}: ${why}`
}

/** Until the action that was asked for has ended. */
async function rested({ conductor, context }: Session, { uuid }: Instance): Promise<End> {
  for (let number: number | undefined; ; ) {
    const { actions = [] } = await conductor.explainInstance(context, { instance_uuid: uuid })
    number ??= actions.at(-1)?.number
    const action = actions.find((each) => each.number === number)
    if (action?.status !== 'accepted') {
      return { instance: (await conductor.getInstance(context, { instance_uuid: uuid })).instance, action }
    }
    await sleep(POLL_MS)
  }
}
