import { describe, expect, it } from 'vitest'
import { SharedWork } from '../../../src/compute/images/shared-work.ts'

const never = new AbortController().signal

/** Work that ends when it is told to, and tells when it is given up. */
function aWork() {
  const begun: { end: (result: string) => void; fail: (error: Error) => void; signal: AbortSignal }[] = []
  const work = (signal: AbortSignal) =>
    new Promise<string>((resolve, reject) => begun.push({ end: resolve, fail: reject, signal }))
  return { begun, work }
}

describe('shared work', () => {
  it('is done once for all who wait, and anew for whoever comes later', async () => {
    const shared = new SharedWork<string>()
    const { begun, work } = aWork()

    const both = Promise.all([shared.do('a', work, never), shared.do('a', work, never)])
    begun[0]?.end('first')
    expect(await both).toEqual(['first', 'first'])
    const later = shared.do('a', work, never)
    begun[1]?.end('second')

    expect([await later, begun.length]).toEqual(['second', 2])
  })

  it('goes on while one still waits, and whoever does not gets his own reason', async () => {
    const shared = new SharedWork<string>()
    const { begun, work } = aWork()
    const impatient = new AbortController()
    const reason = new Error('enough')

    const waits = shared.do('a', work, never)
    const leaves = shared.do('a', work, impatient.signal)
    impatient.abort(reason)

    await expect(leaves).rejects.toBe(reason)
    expect(begun.map(({ signal }) => signal.aborted)).toEqual([false])
    begun[0]?.end('done')
    expect(await waits).toBe('done')
  })

  it('is given up when nobody waits, and begun anew only after its end', async () => {
    const shared = new SharedWork<string>()
    const { begun, work } = aWork()
    const impatient = new AbortController()

    const leaves = shared.do('a', work, impatient.signal)
    impatient.abort(new Error('enough'))
    await expect(leaves).rejects.toThrow('enough')
    const comes = shared.do('a', work, never)
    await Promise.resolve()
    expect(begun.map(({ signal }) => signal.aborted)).toEqual([true])
    begun[0]?.fail(new Error('given up'))
    await expect.poll(() => begun.length).toBe(2)
    begun[1]?.end('done')

    expect(await comes).toBe('done')
  })

  it('fails for all who wait, and is not begun for who has given up already', async () => {
    const shared = new SharedWork<string>()
    const { begun, work } = aWork()

    const both = [shared.do('a', work, never), shared.do('a', work, never)]
    begun[0]?.fail(new Error('broken'))

    for (const each of await Promise.allSettled(both)) expect(each).toMatchObject({ reason: { message: 'broken' } })
    await expect(shared.do('a', work, AbortSignal.abort(new Error('no')))).rejects.toThrow('no')
    expect(begun).toHaveLength(1)
  })

  it('ends all of it when it is stopped', async () => {
    const shared = new SharedWork<string>()
    const work = (signal: AbortSignal) =>
      new Promise<string>((_, reject) => signal.addEventListener('abort', () => reject(new Error('stopped'))))

    const waits = shared.do('a', work, never)
    const stopped = shared.stop()

    await expect(waits).rejects.toThrow('stopped')
    await stopped
  })
})
