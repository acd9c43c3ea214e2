import type { HostSummary } from '../objects/host-report.ts'
import { EXIT } from './exit-codes.ts'
import { hostTable } from './host-view.ts'
import { print, printJson } from './output.ts'
import { type GlobalOptions, withSession } from './session.ts'

export async function hosts(options: GlobalOptions): Promise<number> {
  return withSession(options, async ({ scheduler, context }) => {
    const found: HostSummary[] = []
    for (;;) {
      const marker = found.at(-1)?.host
      const page = await scheduler.listHosts(context, { ...(marker !== undefined && { marker }) })
      if (page.hosts.length === 0) break
      found.push(...page.hosts)
    }
    if (options.json) printJson({ hosts: found })
    else print(hostTable(found))
    return EXIT.OK
  })
}
