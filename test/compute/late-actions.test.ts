import { describe, expect, it } from 'vitest'
import { HypervisorUnavailable, MessagingTimeout, UnsupportedVersion } from '../../src/errors.ts'
import { at, booted, guestOf, reported } from './support/act.ts'
import { aWorker, request, withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'

/** The clock of these workers shows two minutes past midnight. */
const LONG_AGO = '2026-01-01T00:00:00.000Z'

describe('an action that was long on its way', () => {
  it('is not done when the conductor does not want it any more, and nobody is told', async () => {
    await withWorker({ isWanted: async () => false }, async (worker) => {
      const instance = await booted(worker)
      const late = { ...at(instance, 'active', 'powering-off'), updated_at: LONG_AGO }

      await worker.manager.stopInstance({ instance: late, number: 1, clean_shutdown: true }, request)
      await worker.manager.idle()

      expect([await guestOf(worker, instance), await worker.sent()]).toEqual(['running', []])
      expect([worker.journal.actions(), worker.manager.isBusy(instance.uuid)]).toEqual([[], false])
    })
  })

  it('is asked about until somebody answers, and then done', async () => {
    const answers = [new MessagingTimeout('nobody answers'), new MessagingTimeout('nobody answers')]
    const isWanted = async () => {
      const failure = answers.shift()
      if (failure) throw failure
      return true
    }
    await withWorker({ isWanted }, async (worker) => {
      const instance = await booted(worker)
      const late = { ...at(instance, 'active', 'powering-off'), updated_at: LONG_AGO }

      await worker.manager.stopInstance({ instance: late, number: 1, clean_shutdown: true }, request)
      await worker.manager.idle()

      expect([await guestOf(worker, instance), await worker.sent()]).toEqual(['shutoff', [reported(instance, 1)]])
    })
  })

  it('is done for a conductor that is too old to be asked', async () => {
    const isWanted = async () => {
      throw new UnsupportedVersion('conductor 1.4 has no check_action')
    }
    await withWorker({ isWanted }, async (worker) => {
      const instance = await booted(worker)
      const late = { ...at(instance, 'active', 'powering-off'), updated_at: LONG_AGO }

      await worker.manager.stopInstance({ instance: late, number: 1, clean_shutdown: true }, request)
      await worker.manager.idle()

      expect(await guestOf(worker, instance)).toBe('shutoff')
    })
  })

  it('that an earlier worker had begun is asked about as well', async () => {
    const folder = await aFolder()
    let isSilent = false
    const dying = await aWorker({
      folder,
      beforeStep: (step) => {
        if (isSilent && step === 'guest') throw new HypervisorUnavailable('libvirt is away')
      },
    })
    const instance = await booted(dying)
    isSilent = true
    const late = { ...at(instance, 'active', 'powering-off'), updated_at: LONG_AGO }
    await dying.manager.stopInstance({ instance: late, number: 1, clean_shutdown: true }, request)
    await dying.close()

    await withWorker({ folder, isWanted: async () => false }, async (worker) => {
      worker.manager.recover()
      await worker.manager.idle()

      expect([await guestOf(worker, instance), worker.journal.actions()]).toEqual(['running', []])
    })
  })
})
