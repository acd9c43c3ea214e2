import type { Logger } from 'pino'
import type { Database } from '../database/database.ts'
import type { RequestInfo } from '../rpc/contract.ts'
import { confirmMove, finishMove, type Move, revertMove } from './placement/moves.ts'

/** Hears from conductors how moves ended. */
export function movesEndpoint({ database, logger }: { readonly database: Database; readonly logger: Logger }) {
  const facts = ({ instance_uuid, migration }: Move, { context }: RequestInfo) => ({
    instance_uuid,
    migration: migration.uuid,
    request_id: context.request_id,
  })
  return {
    async confirmMove(move: Move, info: RequestInfo): Promise<null> {
      const host = await confirmMove(database, move)
      if (host !== undefined) logger.info({ ...facts(move, info), host }, 'move confirmed: the source is given back')
      return null
    },
    async finishMove(move: Move, info: RequestInfo): Promise<null> {
      const host = await finishMove(database, move)
      if (host !== undefined) logger.info({ ...facts(move, info), host }, 'move finished: the source is fenced')
      else logger.info(facts(move, info), 'move finished: the source stays held until its host is fenced, or back')
      return null
    },
    async revertMove(move: Move, info: RequestInfo): Promise<null> {
      const host = await revertMove(database, move)
      if (host !== undefined)
        logger.info({ ...facts(move, info), host }, "move reverted: the source is the instance's again")
      return null
    },
  }
}
