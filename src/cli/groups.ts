import { InvalidArguments } from '../errors.ts'
import type { ServerGroup } from '../objects/server-group.ts'
import { EXIT } from './exit-codes.ts'
import { findGroup } from './find-group.ts'
import { refuseUuid } from './find-instance.ts'
import { groupFacts, groupTable } from './group-view.ts'
import { note, print, printJson } from './output.ts'
import { type GlobalOptions, withSession } from './session.ts'

export interface CreateGroupOptions extends GlobalOptions {
  readonly policy: ServerGroup['policy']
  readonly maxServerPerHost?: string
}

export async function createGroup(name: string, options: CreateGroupOptions): Promise<number> {
  const { policy, maxServerPerHost } = options
  refuseUuid('<name>', name)
  const rules = maxServerPerHost === undefined ? {} : { max_server_per_host: limitOf(policy, maxServerPerHost) }
  return withSession(options, async ({ scheduler, context }) => {
    const { server_group } = await scheduler.createServerGroup(context, { name, policy, rules })
    return show(server_group, options)
  })
}

export async function listGroups(options: GlobalOptions): Promise<number> {
  return withSession(options, async ({ scheduler, context }) => {
    const { server_groups } = await scheduler.listServerGroups(context, {})
    if (options.json) printJson({ server_groups })
    else print(groupTable(server_groups))
    return EXIT.OK
  })
}

export async function showGroup(word: string, options: GlobalOptions): Promise<number> {
  return withSession(options, async (session) => show(await findGroup(session, word), options))
}

export async function deleteGroup(word: string, options: GlobalOptions): Promise<number> {
  return withSession(options, async (session) => {
    const { uuid, name } = await findGroup(session, word)
    await session.scheduler.deleteServerGroup(session.context, { uuid })
    if (options.json) printJson({ deleted: uuid })
    else note(`${name} is deleted`)
    return EXIT.OK
  })
}

function show(server_group: ServerGroup, { json }: GlobalOptions): number {
  if (json) printJson({ server_group })
  else print(groupFacts(server_group))
  return EXIT.OK
}

function limitOf(policy: ServerGroup['policy'], text: string): number {
  const field = '--max-server-per-host'
  const limit = Number(text)
  const fix = policy === 'anti-affinity' ? 'write a whole number from 1' : 'it belongs to --policy anti-affinity'
  if (policy === 'anti-affinity' && Number.isInteger(limit) && limit >= 1) return limit
  throw new InvalidArguments(`${field} is ${JSON.stringify(text)} with the policy ${policy}; ${fix}`, {
    field,
    value: text,
    fix,
  })
}
