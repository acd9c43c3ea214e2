import type { Guest } from '../../virt-driver.ts'
import type { DomainState } from '../rpc/domain-words.ts'

/** A domain that is on its way down, or of a state that nobody knows, still has its memory and its key. */
export function guestState(state: DomainState): Guest['state'] {
  switch (state) {
    case 'shutoff':
    case 'crashed':
      return state
    case 'paused':
    case 'pmsuspended':
      return 'paused'
    case 'running':
    case 'blocked':
    case 'shutdown':
    case 'nostate':
    case 'unknown':
      return 'running'
    default:
      return state satisfies never
  }
}
