import { setTimeout as sleep } from 'node:timers/promises'
import type { Instance, VmState } from '../objects/instance.ts'
import type { ActOptions, StopOptions } from './act.ts'
import { type Ask, askEach, exitCodeOf, printAnswers } from './ask-each.ts'
import { EXIT } from './exit-codes.ts'
import { note } from './output.ts'
import { type Session, withSession } from './session.ts'

/** How often the state is asked for while waiting, in milliseconds. */
const POLL_MS = 250

export function shelve(words: readonly string[], options: StopOptions): Promise<number> {
  return ask(words, options, 'shelved_offloaded', ({ conductor, context }, instance_uuid) =>
    conductor.shelveInstance(context, { instance_uuid, clean_shutdown: !options.hard }),
  )
}

interface UnshelveOptions extends ActOptions {
  /** False: in any from now on. */
  readonly availabilityZone?: string | false
  readonly host?: string
}

export function unshelve(words: readonly string[], options: UnshelveOptions): Promise<number> {
  const { availabilityZone: zone, host } = options
  const where = {
    ...(zone !== undefined && { availability_zone: zone === false ? null : zone }),
    ...(host !== undefined && { host }),
  }
  return ask(words, options, 'active', ({ conductor, context }, instance_uuid) =>
    conductor.unshelveInstance(context, { instance_uuid, ...where }),
  )
}

/** @returns the exit code: refused when it was waited for, and one of them is something else than it was to be */
function ask(words: readonly string[], options: ActOptions, wanted: VmState, asking: Ask): Promise<number> {
  return withSession(options, async (session) => {
    const answers = await askEach(session, words, asking)
    const { accepted } = answers
    const instances = options.wait ? await Promise.all(accepted.map(({ uuid }) => rested(session, uuid))) : accepted
    printAnswers(instances, answers, options)
    const failed = options.wait ? instances.filter(({ vm_state }) => vm_state !== wanted) : []
    for (const { name, uuid, fault } of options.json ? [] : failed) {
      note(fault ? `${name}: ${fault.code}: ${fault.message}` : `${name}: something else took its place`)
      note(`why: sevbus explain ${uuid}`)
    }
    return failed.length > 0 ? EXIT.REFUSED : exitCodeOf(answers)
  })
}

async function rested({ conductor, context }: Session, instance_uuid: string): Promise<Instance> {
  for (;;) {
    const { instance } = await conductor.getInstance(context, { instance_uuid })
    if (instance.task_state === null) return instance
    await sleep(POLL_MS)
  }
}
