import { AggregateNotFound, InvalidArguments } from '../errors.ts'
import type { Aggregate } from '../objects/aggregate.ts'
import { aggregateFacts, aggregateTable } from './aggregate-view.ts'
import { EXIT } from './exit-codes.ts'
import { note, print, printJson } from './output.ts'
import { type GlobalOptions, type Session, withSession } from './session.ts'

export interface AggregateOptions extends GlobalOptions {
  /** `key=value`. */
  readonly metadata?: readonly string[]
  readonly unset?: readonly string[]
  readonly host?: readonly string[]
}

export async function createAggregate(name: string, options: AggregateOptions): Promise<number> {
  const metadata = pairs(options.metadata ?? [])
  const hosts = [...(options.host ?? [])]
  return onAggregate(options, ({ scheduler, context }) => scheduler.createAggregate(context, { name, metadata, hosts }))
}

export async function listAggregates(options: AggregateOptions): Promise<number> {
  return withSession(options, async ({ scheduler, context }) => {
    const { aggregates } = await scheduler.listAggregates(context, {})
    if (options.json) printJson({ aggregates })
    else print(aggregateTable(aggregates))
    return EXIT.OK
  })
}

export async function showAggregate(name: string, options: AggregateOptions): Promise<number> {
  return onAggregate(options, async ({ scheduler, context }) => {
    const [aggregate] = (await scheduler.listAggregates(context, { names: [name] })).aggregates
    if (aggregate !== undefined) return { aggregate }
    throw new AggregateNotFound(`no aggregate is called ${name}`, {
      name,
      fix: 'see their names with: sevbus aggregate list',
    })
  })
}

export async function setAggregate(name: string, options: AggregateOptions): Promise<number> {
  const given = pairs(options.metadata ?? [])
  const unset = options.unset ?? []
  const both = unset.find((key) => Object.hasOwn(given, key))
  if (both !== undefined) throw wrong('--unset', both, `--metadata sets ${both}, too`, 'give one of them')
  if (Object.keys(given).length + unset.length === 0) {
    throw wrong('--metadata', '', 'there is nothing to set', 'give --metadata KEY=VALUE or --unset KEY')
  }
  const metadata = { ...given, ...Object.fromEntries(unset.map((key) => [key, null])) }
  return onAggregate(options, ({ scheduler, context }) => scheduler.setAggregate(context, { name, metadata }))
}

export async function addHosts([name = '', ...hosts]: readonly string[], options: AggregateOptions): Promise<number> {
  return onEach(hosts, options, ({ scheduler, context }, host) => scheduler.addHostToAggregate(context, { name, host }))
}

export async function removeHosts(
  [name = '', ...hosts]: readonly string[],
  options: AggregateOptions,
): Promise<number> {
  return onEach(hosts, options, ({ scheduler, context }, host) =>
    scheduler.removeHostFromAggregate(context, { name, host }),
  )
}

export async function deleteAggregate(name: string, options: AggregateOptions): Promise<number> {
  return withSession(options, async ({ scheduler, context }) => {
    await scheduler.deleteAggregate(context, { name })
    if (options.json) printJson({ deleted: name })
    else note(`${name} is deleted`)
    return EXIT.OK
  })
}

type Answer = Promise<{ readonly aggregate: Aggregate }>

/** One host after the other, as they were named; the aggregate as it is after the last. Where one fails, how far it came. */
async function onEach(
  hosts: readonly string[],
  options: AggregateOptions,
  step: (session: Session, host: string) => Answer,
): Promise<number> {
  return onAggregate(options, async (session) => {
    const answers: Awaited<Answer>[] = []
    try {
      for (const host of hosts) answers.push(await step(session, host))
    } catch (error) {
      const done = answers.length
      if (done > 0) note(`done for ${hosts.slice(0, done).join(', ')}; not for ${hosts.slice(done).join(', ')}`)
      throw error
    }
    return answers.at(-1) as Awaited<Answer>
  })
}

async function onAggregate(options: AggregateOptions, work: (session: Session) => Answer): Promise<number> {
  return withSession(options, async (session) => {
    const { aggregate } = await work(session)
    if (options.json) printJson({ aggregate })
    else print(aggregateFacts(aggregate))
    return EXIT.OK
  })
}

/** @throws InvalidArguments for what is no `key=value` */
function pairs(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=')
      if (at < 1) throw wrong('--metadata', word, 'is no KEY=VALUE', 'write e.g. --metadata availability_zone=room-1')
      return [word.slice(0, at), word.slice(at + 1)]
    }),
  )
}

function wrong(field: string, value: string, what: string, fix: string): InvalidArguments {
  const given = value === '' ? '' : `${field} ${value}: `
  return new InvalidArguments(`${given}${what}; ${fix}`, { field, value, fix })
}
