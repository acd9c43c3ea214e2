import { ComputeHostNotFound, InvalidArguments } from '../errors.ts'
import { hostWord } from './checked-word.ts'
import { EXIT } from './exit-codes.ts'
import { hostFacts } from './host-view.ts'
import { print, printJson } from './output.ts'
import { type GlobalOptions, withSession } from './session.ts'

export async function showHost(name: string, options: GlobalOptions): Promise<number> {
  hostWord('<host>', name)
  return withSession(options, async ({ scheduler, context }) => {
    const [host] = (await scheduler.listHosts(context, { hosts: [name] })).hosts
    if (host === undefined) {
      throw new ComputeHostNotFound(`no host ${name} has reported`, {
        host: name,
        fix: 'see their names with: sevbus hosts',
      })
    }
    if (options.json) printJson({ host })
    else print(hostFacts(host))
    return EXIT.OK
  })
}

export interface SetHostOptions extends GlobalOptions {
  readonly enable?: boolean
  readonly disable?: boolean
  readonly reason?: string
  readonly forcedDown?: boolean
  readonly fenced?: boolean
}

export async function setHost(name: string, options: SetHostOptions): Promise<number> {
  hostWord('<host>', name)
  const settings = settingsOf(options)
  return withSession(options, async ({ scheduler, context }) => {
    const { host } = await scheduler.setHost(context, { host: name, ...settings })
    if (options.json) printJson({ host })
    else print(hostFacts(host))
    return EXIT.OK
  })
}

function settingsOf({ enable, disable, reason, forcedDown, fenced }: SetHostOptions) {
  if (enable && disable) throw wrong('--enable and --disable contradict each other', 'give one of them')
  if (reason !== undefined && !disable) throw wrong('--reason says why a host is disabled', 'give --disable with it')
  if (fenced && forcedDown === false) {
    throw wrong('--fenced and --no-forced-down contradict each other', 'a host that is powered off is down')
  }
  if (!enable && !disable && forcedDown === undefined && fenced === undefined) {
    throw wrong(
      'there is nothing to set',
      'give --enable, --disable, --forced-down, --no-forced-down, --fenced or --no-fenced',
    )
  }
  return {
    ...((enable || disable) && { disabled: disable === true }),
    ...(reason !== undefined && { disabled_reason: reason }),
    ...(forcedDown !== undefined && { forced_down: forcedDown }),
    ...(fenced !== undefined && { fenced }),
  }
}

function wrong(what: string, fix: string): InvalidArguments {
  return new InvalidArguments(`${what}; ${fix}`, { fix })
}
