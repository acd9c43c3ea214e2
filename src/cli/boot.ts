import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { InstanceName, MAX_COUNT } from '../conductor/rpc-api.ts'
import { InvalidArguments } from '../errors.ts'
import { NewFlavor } from '../objects/flavor.ts'
import { NewImageMeta } from '../objects/image-meta.ts'
import type { Instance } from '../objects/instance.ts'
import { fromCatalogue } from './catalogue.ts'
import { checkedWord } from './checked-word.ts'
import { EXIT } from './exit-codes.ts'
import { refuseUuid } from './find-instance.ts'
import { failureLines, instanceTable } from './instance-view.ts'
import { note, print, printJson } from './output.ts'
import { parseHints, schedulerHints } from './scheduler-hints.ts'
import { type GlobalOptions, loadCliConfig, type Session, withSession } from './session.ts'
import { readUserData } from './user-data.ts'

/** How often the states are asked for while waiting, in milliseconds. */
const POLL_MS = 250

export interface BootOptions extends GlobalOptions {
  readonly flavor: string
  readonly image: string
  readonly count: string
  readonly allOrNothing?: boolean
  readonly wait: boolean
  readonly availabilityZone?: string
  readonly hint?: readonly string[]
  readonly configDrive?: boolean
  readonly userData?: string
}

/** @returns the exit code: refused when an instance ended in ERROR */
export async function boot(name: string, options: BootOptions): Promise<number> {
  // What the words name is looked up before anybody is bothered.
  const { flavors, images } = loadCliConfig(options)
  const count = countOf(options.count)
  refuseUuid('<name>', name)
  checkedWord(InstanceName, '<name>', name, 'write a name of 1 to 240 characters, none of them a control character')
  const flavor = fromCatalogue('flavor', NewFlavor, options.flavor, flavors)
  const image = fromCatalogue('image', NewImageMeta, options.image, images)
  const hints = parseHints(options.hint ?? [])
  const drive = configDrive(options)
  return withSession(options, async (session) => {
    const { conductor, context } = session
    const where = await whereabouts(session, options, hints, count)
    // Uuids of our own: were the answer lost, asking again would make nothing twice.
    const instance_uuids = Array.from({ length: count }, () => randomUUID())
    const request = { name, flavor, image, count, instance_uuids, ...where, ...drive }
    const accepted = await conductor.buildInstances(context, request)
    if (!options.json) note(`${accepted.instances.length} accepted as ${context.request_id}`)
    const instances = options.wait ? await settled(session, accepted.instances) : accepted.instances
    if (options.json) printJson({ instances })
    else print(instanceTable(instances))
    const failed = instances.filter(({ vm_state }) => vm_state === 'error')
    if (!options.json) for (const line of failureLines(failed)) note(line)
    if (!options.json && failed[0]) note(`why: sevbus explain ${failed[0].uuid}`)
    return failed.length > 0 ? EXIT.REFUSED : EXIT.OK
  })
}

/** Only what was asked for: a conductor of an earlier release refuses words that it does not know. */
async function whereabouts(
  session: Session,
  options: BootOptions,
  hints: ReturnType<typeof parseHints>,
  count: number,
) {
  return {
    ...(options.availabilityZone !== undefined && { availability_zone: options.availabilityZone }),
    ...(hints.length > 0 && { scheduler_hints: await schedulerHints(session, hints) }),
    ...(options.allOrNothing && { min_count: count }),
  }
}

function configDrive({ configDrive: isWanted, userData }: BootOptions) {
  return {
    ...(isWanted && { config_drive: true }),
    ...(userData !== undefined && { user_data: readUserData(userData) }),
  }
}

async function settled({ conductor, context }: Session, instances: readonly Instance[]): Promise<Instance[]> {
  const waiting = new Map(instances.map((instance) => [instance.uuid, instance]))
  const done = new Map<string, Instance>()
  while (waiting.size > 0) {
    for (const uuid of waiting.keys()) {
      const { instance } = await conductor.getInstance(context, { instance_uuid: uuid })
      if (instance.vm_state === 'building') continue
      waiting.delete(uuid)
      done.set(uuid, instance)
    }
    if (waiting.size > 0) await sleep(POLL_MS)
  }
  return instances.map(({ uuid }) => done.get(uuid) as Instance)
}

function countOf(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1 && value <= MAX_COUNT) return value
  const fix = `write a whole number from 1 to ${MAX_COUNT}, e.g. --count 3`
  throw new InvalidArguments(`--count is ${JSON.stringify(text)}; ${fix}`, { field: '--count', value: text, fix })
}
