import type { Logger } from 'pino'
import type { Database } from '../database/database.ts'
import { retryTransaction } from '../database/transactions.ts'
import type { RequestInfo } from '../rpc/contract.ts'
import { gathered } from '../rpc/gathered.ts'
import { newRequestContext } from '../rpc/request-context.ts'
import { type Build, countFailure, countSuccesses, countSuccessesAtRest } from './placement/build-outcomes.ts'
import { tellOfService } from './placement/service-status.ts'
import { type Telling, toldOf } from './telling.ts'

/** As the conductor tells it. */
interface BuildOutcome extends Build {
  /** Null: the guest runs. */
  readonly failure: string | null
}

export interface BuildOutcomesDeps {
  readonly database: Database
  /** Builds that fail in a row until a host is disabled; 0: never. */
  readonly disableAfter: number
  readonly logger: Logger
  /** Undefined: nobody is told of it. */
  readonly telling?: Telling | undefined
}

/** While many boots are under way. Whoever waits has one of the service's hands, which those who want hosts need, too. */
const IN_NO_HURRY = { enough: 32, waitMs: 20 }

/** Hears from conductors how builds ended, and says so when a host goes out of service by it, or comes back. */
export function buildOutcomesEndpoint({ database, disableAfter, logger, telling }: BuildOutcomesDeps) {
  const succeeded = gathered(async (builds: readonly Build[]) => {
    if (await retryTransaction(() => countSuccessesAtRest(database, builds))) return
    const enabled = await database.transaction(async (tx) => {
      const hosts = await countSuccesses(tx, builds)
      for (const host of hosts) await tellOfService(tx, toldOf(telling, newRequestContext()), 'service.update', host)
      return hosts
    })
    for (const host of enabled) {
      logger.info({ host, failed_builds: 0 }, 'host enabled again: a build succeeded there')
    }
    if (enabled.length > 0) telling?.announce()
  }, IN_NO_HURRY)
  return {
    async noteBuilds({ builds }: { readonly builds: readonly Build[] }): Promise<null> {
      await Promise.all(builds.map(succeeded))
      return null
    },
    async noteBuild({ failure, ...build }: BuildOutcome, { context }: RequestInfo): Promise<null> {
      if (failure === null) {
        await succeeded(build)
        return null
      }
      const counted = await database.transaction(async (tx) => {
        const after = await countFailure(tx, build, failure, disableAfter)
        if (after?.isDisabled) await tellOfService(tx, toldOf(telling, context), 'service.update', build.host)
        return after
      })
      if (counted?.isDisabled) {
        telling?.announce()
        const facts = { host: build.host, failed_builds: counted.failedBuilds, request_id: context.request_id }
        logger.warn({ ...facts, failure }, 'host disabled: its builds fail')
      }
      return null
    },
  }
}
