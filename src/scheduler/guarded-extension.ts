import type { HostFilter } from './filters/host-filter.ts'
import type { HostState } from './host-state.ts'
import { SaidOnce } from './hosts/said-once.ts'
import type { SchedulingRequest } from './scheduling-request.ts'
import type { HostWeigher } from './weighers/host-weigher.ts'

/** Longer words are no reason that an operator reads. */
const MAX_REASON = 500

/** Hears which extension failed, and how; of one that fails for each host the same way once. */
export type OnFailure = (name: string, failure: string) => void

/**
 * A user's filter that cannot end a request with an error of nobody's: where it fails, or answers what is no reason, the
 * host is rejected with that as the reason, for a host that was not judged must not be taken.
 */
export function guardedFilter(filter: HostFilter, onFailure: OnFailure): HostFilter {
  const { name, fix = `see what ${name} looks at, or take it out of scheduler.extra_filters` } = filter
  const tell = once(name, onFailure)
  const reject = (host: HostState, request: SchedulingRequest) => {
    try {
      const reason: unknown = filter.reject(host, request)
      if (reason === undefined) return undefined
      if (typeof reason === 'string' && reason !== '') return reason.slice(0, MAX_REASON)
      return `the filter itself failed: ${tell(`it must give a text or undefined, not ${inWords(reason)}`)}`
    } catch (error) {
      return `the filter itself failed: ${tell(String(error))}`
    }
  }
  return { name, fix, reject, ...concernOf(filter) }
}

/** A user's weigher that cannot end a request: of a host where it fails it knows nothing, so that one gets the least. */
export function guardedWeigher(weigher: HostWeigher, onFailure: OnFailure): HostWeigher {
  const tell = once(weigher.name, onFailure)
  const weigh = (host: HostState, request: SchedulingRequest) => {
    try {
      const weight: unknown = weigher.weigh(host, request)
      if (typeof weight === 'number') return weight
      tell(`it must give a number, not ${inWords(weight)}`)
    } catch (error) {
      tell(String(error))
    }
    return Number.NaN
  }
  return { name: weigher.name, multiplier: weigher.multiplier, weigh, ...concernOf(weigher) }
}

function once(name: string, onFailure: OnFailure): (failure: string) => string {
  const said = new SaidOnce()
  return (failure) => {
    const short = failure.slice(0, MAX_REASON)
    if (said.isNews(short, '')) onFailure(name, short)
    return short
  }
}

function concernOf<T extends Pick<HostFilter, 'concern'>>(extension: T): Pick<HostFilter, 'concern'> {
  const { concern } = extension
  return concern === undefined ? {} : { concern: concern.bind(extension) }
}

function inWords(value: unknown): string {
  if (value === '') return 'an empty text'
  if (value instanceof Promise) return 'a promise'
  return value === null || typeof value !== 'object' ? String(value) : 'an object'
}
