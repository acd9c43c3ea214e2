/** Nova's service_down_time of 60 s at its report_interval of 10 s. */
export const DOWN_AFTER_INTERVALS = 6
/** However short a host's interval is: one slow statement must not declare it dead. */
const DOWN_AFTER_SECONDS_AT_LEAST = 2

/**
 * Does the host count as up?
 *
 * @param secondsSinceSeen by the database's clock, which all schedulers share
 * @param reportIntervalSeconds as the host itself announced
 */
export function isUp(
  secondsSinceSeen: number,
  reportIntervalSeconds: number,
  downAfterIntervals = DOWN_AFTER_INTERVALS,
): boolean {
  return secondsSinceSeen <= Math.max(reportIntervalSeconds * downAfterIntervals, DOWN_AFTER_SECONDS_AT_LEAST)
}
