import type { Wanted } from './doctor-options.ts'
import type { ExaminedHost } from './examined-host.ts'

/** What checks judge: the host as it is, and what is wanted of it. */
export interface Examination {
  readonly host: ExaminedHost
  readonly options: Wanted
}
