import type { Logger } from 'pino'
import type { Queryable } from '../database/database.ts'
import { retryTransaction } from '../database/transactions.ts'
import type { RequestInfo } from '../rpc/contract.ts'
import { gathered } from '../rpc/gathered.ts'
import { type Build, countFailure, countSuccesses } from './placement/build-outcomes.ts'

/** As the conductor tells it. */
interface BuildOutcome extends Build {
  /** Null: the guest runs. */
  readonly failure: string | null
}

export interface BuildOutcomesDeps {
  readonly database: Queryable
  /** Builds that fail in a row until a host is disabled; 0: never. */
  readonly disableAfter: number
  readonly logger: Logger
}

/** Hears from conductors how builds ended, and says so when a host goes out of service by it, or comes back. */
export function buildOutcomesEndpoint({ database, disableAfter, logger }: BuildOutcomesDeps) {
  const succeeded = gathered(async (builds: readonly Build[]) => {
    // Two schedulers may count the same ones in different orders.
    for (const host of await retryTransaction(() => countSuccesses(database, builds))) {
      logger.info({ host, failed_builds: 0 }, 'host enabled again: a build succeeded there')
    }
  })
  return {
    async noteBuild({ failure, ...build }: BuildOutcome, { context }: RequestInfo): Promise<null> {
      if (failure === null) {
        await succeeded(build)
        return null
      }
      const counted = await countFailure(database, build, failure, disableAfter)
      if (counted?.isDisabled) {
        const facts = { host: build.host, failed_builds: counted.failedBuilds, request_id: context.request_id }
        logger.warn({ ...facts, failure }, 'host disabled: its builds fail')
      }
      return null
    },
  }
}
