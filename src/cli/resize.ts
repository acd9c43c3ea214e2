import { setTimeout as sleep } from 'node:timers/promises'
import { NewFlavor } from '../objects/flavor.ts'
import type { Instance } from '../objects/instance.ts'
import type { InstanceMigration } from '../objects/instance-migration.ts'
import { fromCatalogue } from './catalogue.ts'
import { hostWord } from './checked-word.ts'
import { EXIT } from './exit-codes.ts'
import { findInstance } from './find-instance.ts'
import { instanceTable } from './instance-view.ts'
import { note, print, printJson } from './output.ts'
import { type GlobalOptions, loadCliConfig, type Session, withSession } from './session.ts'

/** How often the state is asked for while waiting, in milliseconds. */
const POLL_MS = 250

export interface MoveOptions extends GlobalOptions {
  readonly host?: string
  readonly wait?: boolean
}

export interface ResizeOptions extends MoveOptions {
  readonly flavor: string
}

type Ask = (session: Session, uuid: string) => Promise<{ readonly instance: Instance }>
type Status = InstanceMigration['status']

/** @returns the exit code: refused when it was waited for, and the instance is where it was */
export function resize(word: string, options: ResizeOptions): Promise<number> {
  const flavor = fromCatalogue('flavor', NewFlavor, options.flavor, loadCliConfig(options).flavors)
  return move(word, options, ['finished', 'done', 'completed'], ({ conductor, context }, instance_uuid) =>
    conductor.resizeInstance(context, { instance_uuid, flavor, ...whereTo(options) }),
  )
}

export function migrate(word: string, options: MoveOptions): Promise<number> {
  return move(word, options, ['finished', 'done', 'completed'], ({ conductor, context }, instance_uuid) =>
    conductor.migrateInstance(context, { instance_uuid, ...whereTo(options) }),
  )
}

export function liveMigrate(word: string, options: MoveOptions): Promise<number> {
  return move(word, options, ['done', 'completed'], ({ conductor, context }, instance_uuid) =>
    conductor.liveMigrateInstance(context, { instance_uuid, ...whereTo(options) }),
  )
}

export function abortLiveMigration(word: string, options: MoveOptions): Promise<number> {
  return move(word, options, ['reverted', 'failed'], ({ conductor, context }, instance_uuid) =>
    conductor.liveMigrationAbort(context, { instance_uuid }),
  )
}

export function forceCompleteLiveMigration(word: string, options: MoveOptions): Promise<number> {
  return move(word, options, ['done', 'completed'], ({ conductor, context }, instance_uuid) =>
    conductor.liveMigrationForceComplete(context, { instance_uuid }),
  )
}

export function confirmResize(word: string, options: MoveOptions): Promise<number> {
  return move(word, options, ['done', 'completed'], ({ conductor, context }, instance_uuid) =>
    conductor.confirmResize(context, { instance_uuid }),
  )
}

export function revertResize(word: string, options: MoveOptions): Promise<number> {
  return move(word, options, ['reverted'], ({ conductor, context }, instance_uuid) =>
    conductor.revertResize(context, { instance_uuid }),
  )
}

function whereTo({ host }: MoveOptions) {
  return host === undefined ? {} : { host: hostWord('--host', host) }
}

/** @param wanted how the move is to stand when the instance rests */
export function move(word: string, options: MoveOptions, wanted: readonly Status[], ask: Ask): Promise<number> {
  return withSession(options, async (session) => {
    const { uuid } = await findInstance(session, word)
    const { instance: asked } = await ask(session, uuid)
    if (!options.json) note(`accepted as ${session.context.request_id}`)
    const instance = options.wait ? await settled(session, asked) : asked
    if (options.json) printJson({ instance })
    else print(instanceTable([instance]))
    if (!options.wait || (await isDone(session, instance, wanted))) return EXIT.OK
    if (!options.json) {
      const { name, fault } = instance
      note(fault ? `${name}: ${fault.code}: ${fault.message}` : `${name}: something else took its place`)
      note(`why: sevbus explain ${uuid}`)
    }
    return EXIT.REFUSED
  })
}

async function isDone({ conductor, context }: Session, { uuid, vm_state }: Instance, wanted: readonly Status[]) {
  const { migrations = [] } = await conductor.explainInstance(context, { instance_uuid: uuid })
  const status = migrations.at(-1)?.status
  return status !== undefined && wanted.includes(status) && vm_state !== 'error' && vm_state !== 'deleted'
}

async function settled({ conductor, context }: Session, { uuid }: Instance): Promise<Instance> {
  for (;;) {
    const { instance } = await conductor.getInstance(context, { instance_uuid: uuid })
    if (instance.task_state === null) return instance
    await sleep(POLL_MS)
  }
}
