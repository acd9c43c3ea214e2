import type { Logger } from 'pino'
import type { Queryable } from '../database/database.ts'
import type { RequestInfo } from '../rpc/contract.ts'
import { type BuildOutcome, countBuild } from './placement/build-outcomes.ts'

export interface BuildOutcomesDeps {
  readonly database: Queryable
  /** Builds that fail in a row until a host is disabled; 0: never. */
  readonly disableAfter: number
  readonly logger: Logger
}

/** Hears from conductors how builds ended, and says so when a host goes out of service by it, or comes back. */
export function buildOutcomesEndpoint({ database, disableAfter, logger }: BuildOutcomesDeps) {
  return {
    async noteBuild(outcome: BuildOutcome, { context }: RequestInfo): Promise<null> {
      const counted = await countBuild(database, outcome, disableAfter)
      const { host, failure } = outcome
      const facts = { host, failed_builds: counted?.failedBuilds, request_id: context.request_id }
      if (counted?.change === 'disabled') logger.warn({ ...facts, failure }, 'host disabled: its builds fail')
      if (counted?.change === 'enabled') logger.info(facts, 'host enabled again: a build succeeded there')
      return null
    },
  }
}
