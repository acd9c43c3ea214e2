/**
 * Signs of life have a queue of their own, which schedulers empty in gathers: ten thousand hosts would wake each of them
 * some hundred times a second. No host can have this name, and so no scheduler has it.
 */
export const SIGNS_OF_LIFE = { server: '_signs-of-life', gatherMs: 500, atATime: 512 } as const

/** Of an interval a sign of life may wait so much. */
const WAITING_PART = 1 / 10

/** Where a host that reports so often is to send them; undefined: to any scheduler, which notes them at once. */
export function signsOfLifeServer(reportIntervalSeconds: number): string | undefined {
  const { server, gatherMs } = SIGNS_OF_LIFE
  return reportIntervalSeconds * 1000 * WAITING_PART >= gatherMs ? server : undefined
}
