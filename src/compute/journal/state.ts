import type { Instance } from '../../objects/instance.ts'
import type { ActionOutcome, InstanceAction, MigrationOrder } from '../../objects/instance-action.ts'
import type { LeftDisks } from '../../objects/left-disks.ts'
import type { Allocation } from '../../objects/request-spec.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import type { JournalRecord, QueuedMessage } from './records.ts'

/** Tries that left nothing on the host are remembered for repeated messages, but not for ever. */
const MAX_FINISHED_TRIES = 10_000

/** A build that has begun and not ended. */
export interface Build {
  readonly instance: Instance
  /** What the try was given; undefined: the conductor did not tell. */
  readonly allocations: readonly Allocation[] | undefined
  /** What the request had for cloud-init, base64. */
  readonly user_data?: string | undefined
  /** Of a guest that comes from another host: its disks there. */
  readonly disks?: LeftDisks | undefined
  /** False: it is only defined. */
  readonly power_on?: boolean | undefined
  /** The guest of an earlier try is to go for it. */
  readonly rebuilds?: true | undefined
  /** That has begun to go. */
  readonly replaces?: true
  /** The guest came as it ran: it is taken over. */
  readonly live?: true | undefined
  /** Who takes its end together with those of others; undefined: it is told by itself. */
  readonly reports_to?: string | undefined
  readonly context: RequestContext
  readonly interruptions: number
  readonly handedBack: boolean
}

/** A termination that has begun and not ended. */
export interface Termination {
  readonly instance: Instance
  readonly context: RequestContext
  /** Without telling anybody. */
  readonly void: boolean
  /** Of a guest that an instance has left: its conductor is told. */
  readonly migration_uuid?: string | undefined
  /** What the instance has left on this host is kept. */
  readonly keeps_disks_aside?: boolean | undefined
}

/** An action that has begun and not ended. */
export interface Action {
  readonly instance: Instance
  /** Among all actions of the instance. */
  readonly number: number
  readonly action: InstanceAction
  readonly context: RequestContext
  /** Of a reboot: the guest was powered off already. */
  readonly isOff?: true
  /** Of a live migration: what somebody wants of it since. */
  readonly orders?: readonly MigrationOrder[]
}

/** The latest action of a guest that ended here, to answer a repeated one with the same words. */
export interface EndedAction {
  readonly attempt: number
  readonly number: number
  readonly outcome: ActionOutcome
}

/** The latest try of an instance that came to this host. */
export interface KnownTry {
  readonly attempt: number
  readonly outcome?: 'active' | 'failed' | 'unwanted' | undefined
  readonly terminated?: { readonly at: string; readonly void: boolean } | undefined
  /** Of a try that is the instance again after later ones were here: those up to this are over. */
  readonly overThrough?: number | undefined
  /** Rebuilds up to this try have ended before they touched its guest. */
  readonly refusedThrough?: number | undefined
}

/** The guest of an earlier try stands as it was: should this end, it goes on. */
export function isRefusable({ rebuilds, replaces }: Build): boolean {
  return rebuilds === true && replaces !== true
}

type RecordOf<T extends JournalRecord['type']> = Extract<JournalRecord, { type: T }>

function knownRecord(
  uuid: string,
  { overThrough: over_through, refusedThrough: refused_through, ...known }: KnownTry,
): RecordOf<'attempt_known'> {
  const through = { ...(over_through && { over_through }), ...(refused_through && { refused_through }) }
  return { type: 'attempt_known', uuid, ...known, ...through }
}

/** What the records amount to. Applying them in order gives the same state always; a later try supersedes earlier ones. */
export class JournalState {
  readonly builds = new Map<string, Build>()
  readonly terminations = new Map<string, Termination>()
  readonly actions = new Map<string, Action>()
  /** Of guests that may still be here. */
  readonly endedActions = new Map<string, EndedAction>()
  readonly tries = new Map<string, KnownTry>()
  /** Not sent yet, oldest first. */
  readonly messages = new Map<string, QueuedMessage>()

  apply(record: JournalRecord): void {
    switch (record.type) {
      case 'build_begun':
        this.#beginBuild(record)
        break
      case 'build_resumed':
        this.#changeBuild(record, ({ interruptions, handedBack }) => ({
          interruptions: handedBack ? interruptions : interruptions + 1,
          handedBack: false,
        }))
        break
      case 'build_handed_back':
        this.#changeBuild(record, () => ({ handedBack: true }))
        break
      case 'build_replaces':
        this.#changeBuild(record, () => ({ replaces: true }))
        this.#forgetActions(record.uuid)
        this.#know(record.uuid, { attempt: record.attempt })
        break
      case 'build_ended':
        this.#endBuild(record)
        break
      case 'terminate_begun':
        this.#beginTermination(record)
        break
      case 'terminate_ended':
        this.#endTermination(record)
        break
      case 'action_begun': {
        const { type: _type, ...begun } = record
        this.actions.set(begun.instance.uuid, begun)
        break
      }
      case 'action_powered_off':
        this.#changeAction(record, () => ({ isOff: true }))
        break
      case 'migration_ordered':
        this.#changeAction(record, ({ orders = [] }) => ({ orders: [...new Set([...orders, record.order])] }))
        break
      case 'action_unwanted':
        if (this.actions.get(record.uuid)?.number === record.number) this.actions.delete(record.uuid)
        break
      case 'action_ended':
        this.#endAction(record)
        break
      case 'try_restored':
        this.#restore(record)
        break
      case 'attempt_known': {
        const { attempt, outcome, terminated, over_through: overThrough, refused_through: refusedThrough } = record
        this.#know(record.uuid, { attempt, outcome, terminated, overThrough, refusedThrough })
        break
      }
      case 'queued':
        for (const message of record.messages) this.messages.set(message.id, message)
        break
      case 'sent':
        for (const id of record.ids) this.messages.delete(id)
        break
      default:
        record satisfies never
    }
  }

  /** Records that give this state again: what compaction writes. */
  *snapshot(): Iterable<JournalRecord> {
    for (const termination of this.terminations.values()) yield { type: 'terminate_begun', ...termination }
    for (const build of this.builds.values()) yield* this.#recordsOf(build)
    // After the builds, whose beginning would take the outcome away again.
    for (const [uuid, known] of this.tries) yield knownRecord(uuid, known)
    for (const [uuid, { isOff, orders = [], ...action }] of this.actions) {
      const { number } = action
      yield { type: 'action_begun', ...action }
      if (isOff) yield { type: 'action_powered_off', uuid, number }
      for (const order of orders) yield { type: 'migration_ordered', uuid, number, order }
    }
    for (const [uuid, ended] of this.endedActions) yield { type: 'action_ended', uuid, ...ended }
    for (const message of this.messages.values()) yield { type: 'queued', messages: [message] }
  }

  *#recordsOf({ handedBack, replaces, allocations, ...build }: Build): Iterable<JournalRecord> {
    const { uuid, attempt } = build.instance
    const known = this.tries.get(uuid)
    // What it may go back to has to be known before it begins.
    if (known !== undefined && build.rebuilds && !replaces) yield knownRecord(uuid, known)
    yield { type: 'build_begun', ...build, allocations: allocations && [...allocations] }
    if (replaces) yield { type: 'build_replaces', uuid, attempt }
    if (handedBack) yield { type: 'build_handed_back', uuid, attempt }
  }

  #beginBuild({ type: _type, allocations, ...begun }: RecordOf<'build_begun'>): void {
    const { instance } = begun
    // Its guest is of the earlier try until that goes. Where nobody knows of which, nothing can be gone back to.
    const isKept = begun.rebuilds && this.tries.has(instance.uuid)
    const replaces = begun.rebuilds && !isKept
    this.builds.set(instance.uuid, { ...begun, allocations, handedBack: false, ...(replaces && { replaces }) })
    if (isKept) return
    this.#forgetActions(instance.uuid)
    this.#know(instance.uuid, { attempt: instance.attempt })
  }

  #endBuild({ uuid, attempt, outcome }: RecordOf<'build_ended'>): void {
    const build = this.builds.get(uuid)
    const isCurrent = build?.instance.attempt === attempt
    if (isCurrent) this.builds.delete(uuid)
    const earlier = this.tries.get(uuid)
    const isKept = isCurrent && isRefusable(build) && earlier !== undefined
    if (isKept) this.tries.set(uuid, { ...earlier, refusedThrough: attempt })
    else this.#know(uuid, { attempt, outcome })
  }

  /** Takes over what a build of the instance has left. */
  #beginTermination({ type: _type, ...begun }: RecordOf<'terminate_begun'>): void {
    const { uuid, attempt } = begun.instance
    if ((this.builds.get(uuid)?.instance.attempt ?? 0) <= attempt) this.builds.delete(uuid)
    this.#forgetActions(uuid)
    this.terminations.set(uuid, begun)
    this.#know(uuid, { attempt })
  }

  #endTermination({ uuid, attempt, at, void: isVoid }: RecordOf<'terminate_ended'>): void {
    if (this.terminations.get(uuid)?.instance.attempt === attempt) this.terminations.delete(uuid)
    this.#know(uuid, { attempt, terminated: { at, void: isVoid } })
  }

  #endAction({ uuid, attempt, number, outcome }: RecordOf<'action_ended'>): void {
    if (this.actions.get(uuid)?.number === number) this.actions.delete(uuid)
    this.endedActions.set(uuid, { attempt, number, outcome })
  }

  /** They are of a guest that is to go: whatever comes of them is void. */
  #forgetActions(uuid: string): void {
    this.actions.delete(uuid)
    this.endedActions.delete(uuid)
  }

  #changeBuild(which: { uuid: string; attempt: number }, change: (build: Build) => Partial<Build>): void {
    const build = this.builds.get(which.uuid)
    if (build?.instance.attempt === which.attempt) this.builds.set(which.uuid, { ...build, ...change(build) })
  }

  #changeAction(which: { uuid: string; number: number }, change: (action: Action) => Partial<Action>): void {
    const action = this.actions.get(which.uuid)
    if (action?.number === which.number) this.actions.set(which.uuid, { ...action, ...change(action) })
  }

  #restore({ uuid, attempt }: RecordOf<'try_restored'>): void {
    const later = this.tries.get(uuid)
    this.tries.delete(uuid)
    const overThrough = Math.max(attempt, later?.attempt ?? 0, later?.overThrough ?? 0)
    this.#know(uuid, { attempt, outcome: 'active', overThrough })
  }

  #know(uuid: string, known: KnownTry): void {
    const before = this.tries.get(uuid)
    if ((before?.attempt ?? 0) > known.attempt) return
    const through = before?.attempt === known.attempt && {
      ...(before.overThrough && { overThrough: before.overThrough }),
      ...(before.refusedThrough && { refusedThrough: before.refusedThrough }),
    }
    // Set anew, so that the map stays in the order of the last change.
    this.tries.delete(uuid)
    this.tries.set(uuid, { ...through, ...known })
    if (this.tries.size > MAX_FINISHED_TRIES) this.#forgetOldest()
  }

  /** Never a try with a guest on the host, or with work to do. */
  #forgetOldest(): void {
    for (const [uuid, { outcome, terminated }] of this.tries) {
      const leftNothing = terminated !== undefined || outcome === 'failed' || outcome === 'unwanted'
      if (!leftNothing || this.builds.has(uuid) || this.terminations.has(uuid)) continue
      this.tries.delete(uuid)
      return
    }
  }
}
