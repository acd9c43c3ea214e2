import { DISABLE_AFTER } from './scheduler-process.ts'
import type { HostRow, Tables } from './tables.ts'
import { must } from './violation.ts'

/**
 * What must hold of hosts after every step.
 *
 * @param closed hosts that an operator has taken out of service
 * @throws Violation
 */
export function checkHosts(before: Tables, now: Tables, closed: ReadonlySet<string>): void {
  checkCounts(before, now)
  for (const host of now.hosts) {
    const { host: name, disabled, disabled_by, failed_builds } = host
    if (closed.has(name)) {
      must(disabled && disabled_by === 'operator', () => `an operator closed ${name}, and it is ${wordsOf(host)}`)
    }
    const isByFailures = disabled_by === 'build failures'
    must(!isByFailures || (disabled && failed_builds >= DISABLE_AFTER), () => `${name} is ${wordsOf(host)}`)
    must(disabled || disabled_by === null, () => `${name} is ${wordsOf(host)}`)
  }
  checkProviders(now)
}

/** Each end of a build counts once. */
function checkCounts(before: Tables, now: Tables): void {
  const counted = now.consumers.filter(({ uuid, counted_attempt }) => {
    const was = before.consumers.find((one) => one.uuid === uuid)?.counted_attempt ?? 0
    must(was <= counted_attempt, () => `what is counted of ${uuid} went from try ${was} to ${counted_attempt}`)
    return was < counted_attempt
  })
  for (const { host, failed_builds } of now.hosts) {
    const was = before.hosts.find((one) => one.host === host)?.failed_builds ?? 0
    const isOne = failed_builds === 0 || failed_builds === was + 1
    must(failed_builds === was || (counted.length > 0 && isOne), () => {
      return `${host} had ${was} failed builds and has ${failed_builds}, by ${counted.length} that ended`
    })
  }
}

/** No lie was taken: each provider is its host's, with numbers that can be. */
function checkProviders({ providers, inventories }: Tables): void {
  const astray = providers.find(({ name, host }) => name !== host && !name.startsWith(`${host}_`))
  must(astray === undefined, () => `${astray?.name} became a provider of ${astray?.host}`)
  for (const {
    provider,
    resource_class,
    total,
    reserved,
    min_unit,
    max_unit,
    step_size,
    allocation_ratio,
  } of inventories) {
    const numbers = { total, reserved, min_unit, max_unit, step_size, allocation_ratio }
    const canBe = total >= 1 && reserved >= 0 && reserved <= total && min_unit >= 1 && min_unit <= max_unit
    must(canBe && step_size >= 1 && allocation_ratio > 0, () => {
      return `${resource_class} of ${provider} became ${JSON.stringify(numbers)}`
    })
  }
}

function wordsOf({ disabled, disabled_by, failed_builds }: HostRow): string {
  return `${disabled ? 'disabled' : 'enabled'} by ${disabled_by} with ${failed_builds} failed builds`
}
