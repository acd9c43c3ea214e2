import type { Database } from '../../database/database.ts'
import type { ReadinessCheck } from './watched.ts'

/** Whether the database answers now. */
export function databaseCheck(database: Database): ReadinessCheck {
  return {
    name: 'database',
    async trouble() {
      await database.query('select 1')
      return undefined
    },
  }
}
