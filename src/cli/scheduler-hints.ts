import { InvalidArguments } from '../errors.ts'
import type { SchedulerHints } from '../objects/scheduler-hints.ts'
import { findGroup } from './find-group.ts'
import { findInstance } from './find-instance.ts'
import type { Session } from './session.ts'

const KEYS = ['group', 'same_host', 'different_host'] as const
const WRITE = 'write --hint group=GROUP, --hint same_host=INSTANCE or --hint different_host=INSTANCE'

/** One `--hint key=value`, not looked up yet. */
export interface HintWords {
  readonly key: (typeof KEYS)[number]
  readonly value: string
}

/** @throws InvalidArguments for what is no hint, or a second group */
export function parseHints(words: readonly string[]): readonly HintWords[] {
  const hints = words.map((word) => {
    const [name, ...rest] = word.split('=')
    const key = KEYS.find((known) => known === name)
    const value = rest.join('=')
    if (key === undefined || value === '') throw invalid(word, 'which means nothing')
    return { key, value }
  })
  const second = hints.filter(({ key }) => key === 'group')[1]
  if (second !== undefined) throw invalid(`group=${second.value}`, 'the second group: an instance is in one at most')
  return hints
}

/** Groups and instances by uuid or name, as everywhere on the command line. */
export async function schedulerHints(session: Session, hints: readonly HintWords[]): Promise<SchedulerHints> {
  const word = hints.find(({ key }) => key === 'group')?.value
  const group = word === undefined ? null : (await findGroup(session, word)).uuid
  const uuidsOf = async (key: HintWords['key']) => {
    const named = hints.filter((hint) => hint.key === key)
    return Promise.all(named.map(async ({ value }) => (await findInstance(session, value)).uuid))
  }
  return { group, same_host: await uuidsOf('same_host'), different_host: await uuidsOf('different_host') }
}

function invalid(word: string, problem: string): InvalidArguments {
  return new InvalidArguments(`--hint is ${JSON.stringify(word)}, ${problem}; ${WRITE}`, {
    field: '--hint',
    value: word,
    fix: WRITE,
  })
}
