import { describe, expect, it } from 'vitest'
import { askEach, exitCodeOf, refusalsJson } from '../../src/cli/ask-each.ts'
import { EXIT } from '../../src/cli/exit-codes.ts'
import type { Session } from '../../src/cli/session.ts'
import { InstanceInvalidState, InstanceNotFound, MessagingTimeout } from '../../src/errors.ts'

const uuidOf = (number: number) => `aaaaaaaa-0000-4000-8000-00000000000${number}`
const M1 = { uuid: uuidOf(1), name: 'm1' }
const M2 = { uuid: uuidOf(2), name: 'm2' }
const ALSO_M2 = { uuid: uuidOf(3), name: 'm2' }
const M4 = { uuid: uuidOf(4), name: 'm4' }
const ALL = [M1, M2, ALSO_M2, M4]

/** A conductor that knows these four. */
const session = {
  context: {},
  conductor: {
    async getInstance(_context: unknown, { instance_uuid }: { readonly instance_uuid: string }) {
      const instance = ALL.find(({ uuid }) => uuid === instance_uuid)
      if (instance === undefined) throw new InstanceNotFound(`no instance ${instance_uuid}`)
      return { instance }
    },
    async listInstances(_context: unknown, { name, vm_state }: { readonly name: string; readonly vm_state?: string }) {
      return { instances: vm_state === undefined ? ALL.filter((each) => each.name === name) : [] }
    },
  },
} as unknown as Session

/** Asks for these, and tells for which of them anything was done. */
async function asked(words: readonly string[], refusals: Readonly<Record<string, Error>> = {}) {
  const done: string[] = []
  const answers = askEach(session, words, async (_session, uuid) => {
    const refusal = refusals[uuid]
    if (refusal !== undefined) throw refusal
    done.push(uuid)
    return { instance: ALL.find((each) => each.uuid === uuid) as never }
  })
  const settled = await answers.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  return { done, ...settled } as { done: string[]; value: Awaited<typeof answers>; error: unknown }
}

describe('a command on several instances', () => {
  it('does nothing to any of them when a name has several, and names each word that is wrong', async () => {
    const { done, error } = await asked(['m1', 'm2', 'nope', 'm4'])

    expect(done).toEqual([])
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENTS',
      message: '2 instances are called m2; no instance is called nope; nothing was done to any of them',
      details: {
        names: ['m2', 'nope'],
        problems: [
          { name: 'm2', code: 'INVALID_ARGUMENTS', details: { uuids: [M2.uuid, ALSO_M2.uuid] } },
          { name: 'nope', code: 'INSTANCE_NOT_FOUND' },
        ],
        fix: `name one by its uuid: ${M2.uuid}, ${ALSO_M2.uuid}; see their names with: sevbus list`,
      },
    })
  })

  it('does nothing to any of them when some are not there, be they named by uuid or by name', async () => {
    const { done, error } = await asked(['m1', uuidOf(9), 'nope'])

    expect(done).toEqual([])
    expect(error).toMatchObject({
      code: 'INSTANCE_NOT_FOUND',
      message: `no instance ${uuidOf(9)}; no instance is called nope; nothing was done to any of them`,
    })
  })

  it('says of a single word only what is wrong with that', async () => {
    expect((await asked(['nope'])).error).toMatchObject({ message: 'no instance is called nope' })
    expect((await asked([''])).error).toMatchObject({ message: 'no instance is called ""' })
    expect((await asked(['n'.repeat(256)])).error).toMatchObject({ code: 'INSTANCE_NOT_FOUND' })
  })

  it('is for each of them once, however often it is named', async () => {
    const { done, value } = await asked(['m1', M1.uuid, 'm4', 'm1', M4.uuid])

    expect(done).toEqual([M1.uuid, M4.uuid])
    expect(value).toEqual({ accepted: [M1, M4], refused: [], notTried: [] })
    expect([refusalsJson(value), exitCodeOf(value)]).toEqual([{}, EXIT.OK])
  })

  it('goes on with the others when one is refused, and tells of each', async () => {
    const refusal = new InstanceInvalidState('m1 is stopped', { fix: 'start it' })
    const { done, value } = await asked(['m1', 'm4'], { [M1.uuid]: refusal })

    expect(done).toEqual([M4.uuid])
    expect([refusalsJson(value), exitCodeOf(value)]).toEqual([
      {
        errors: [
          {
            instance_uuid: M1.uuid,
            name: 'm1',
            code: 'INSTANCE_INVALID_STATE',
            message: 'm1 is stopped',
            details: { fix: 'start it' },
          },
        ],
        not_tried: [],
      },
      EXIT.REFUSED,
    ])
  })

  it('does not wait for each of them when nobody answers, and tells what was not tried', async () => {
    const { done, value } = await asked(['m4', 'm1', M2.uuid], { [M1.uuid]: new MessagingTimeout('no answer') })

    expect(done).toEqual([M4.uuid])
    expect(value.notTried).toEqual([M2])
    expect(exitCodeOf(value)).toBe(EXIT.UNREACHABLE)
  })

  it('throws the refusal of the only one', async () => {
    const refusal = new InstanceInvalidState('m1 is stopped')

    expect((await asked(['m1', M1.uuid], { [M1.uuid]: refusal })).error).toBe(refusal)
  })
})
