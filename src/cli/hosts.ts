import { EXIT } from './exit-codes.ts'
import { hostTable } from './host-view.ts'
import { print, printJson } from './output.ts'
import { type GlobalOptions, withSession } from './session.ts'

export async function hosts(options: GlobalOptions): Promise<number> {
  return withSession(options, async ({ scheduler, context }) => {
    const { hosts: found } = await scheduler.listHosts(context, {})
    if (options.json) printJson({ hosts: found })
    else print(hostTable(found))
    return EXIT.OK
  })
}
