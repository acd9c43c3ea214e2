import type { HostSummary } from '../objects/host-report.ts'
import { type PageAfter, pages } from '../rpc/page.ts'
import { EXIT } from './exit-codes.ts'
import { hostTable } from './host-view.ts'
import { print, printJson } from './output.ts'
import { type GlobalOptions, withSession } from './session.ts'

export async function hosts(options: GlobalOptions): Promise<number> {
  return withSession(options, async ({ scheduler, context }) => {
    const found: HostSummary[] = []
    const ask = async (after: PageAfter) => (await scheduler.listHosts(context, after)).hosts
    for await (const page of pages(ask, ({ host }) => host)) found.push(...page)
    if (options.json) printJson({ hosts: found })
    else print(hostTable(found))
    return EXIT.OK
  })
}
