import { setTimeout as sleep } from 'node:timers/promises'
import type { Instance } from '../objects/instance.ts'
import { hostWord } from './checked-word.ts'
import { EXIT } from './exit-codes.ts'
import { findInstance } from './find-instance.ts'
import { instanceTable } from './instance-view.ts'
import { note, print, printJson } from './output.ts'
import { type GlobalOptions, type Session, withSession } from './session.ts'

/** How often the state is asked for while waiting, in milliseconds. */
const POLL_MS = 250

export interface EvacuateOptions extends GlobalOptions {
  readonly host?: string
  readonly wait?: boolean
}

/** @returns the exit code: refused when it was waited for, and the instance is where it was */
export async function evacuate(word: string, options: EvacuateOptions): Promise<number> {
  return withSession(options, async (session) => {
    const { conductor, context } = session
    const { uuid } = await findInstance(session, word)
    const to = options.host === undefined ? {} : { host: hostWord('--host', options.host) }
    const { instance: leaving } = await conductor.evacuateInstance(context, { instance_uuid: uuid, ...to })
    if (!options.json) note(`accepted as ${context.request_id}`)
    const instance = options.wait ? await settled(session, leaving) : leaving
    if (options.json) printJson({ instance })
    else print(instanceTable([instance]))
    const hasFailed = options.wait === true && instance.attempt < leaving.attempt
    if (!hasFailed) return EXIT.OK
    if (!options.json) {
      note(`${instance.name}: ${instance.fault?.code}: ${instance.fault?.message}`)
      note(`why: sevbus explain ${uuid}`)
    }
    return EXIT.REFUSED
  })
}

/** Until it rests: its try is that of the move or a later one, or the one that it had before. */
async function settled({ conductor, context }: Session, leaving: Instance): Promise<Instance> {
  for (;;) {
    const { instance } = await conductor.getInstance(context, { instance_uuid: leaving.uuid })
    if (instance.task_state === null) return instance
    await sleep(POLL_MS)
  }
}
