import { describe, expect, it } from 'vitest'
import { completeMigration, DEFAULT_LIVE_MIGRATION } from '../../../../src/compute/libvirt/driver/live-migration.ts'
import type { Libvirt } from '../../../../src/compute/libvirt/rpc/libvirt.ts'
import { LibvirtError } from '../../../../src/errors.ts'

const UUID = '0b1f9c52-6d1e-4d8e-9c1b-3f2a7b9d4e10'
const never = new AbortController().signal

/** A daemon with a migration under way, of which so much was sent. */
async function completed(permitPostCopy: boolean, { sent = 1n, refuses = false, state = 'running' } = {}) {
  const told: string[] = []
  const libvirt = {
    domainGetJobInfo: async () => ({ type: 2, memProcessed: sent }),
    domainGetState: async () => ({ state, reason: 'booted' }),
    domainMigrateStartPostCopy: async () => {
      if (refuses) throw new LibvirtError('post-copy was not enabled', { libvirt_code: 55 })
      told.push('post-copy')
    },
    domainSuspend: async () => void told.push('suspend'),
  } as unknown as Libvirt
  const options = { ...DEFAULT_LIVE_MIGRATION, permitPostCopy }
  return [await completeMigration(UUID, { libvirt, options }, never), ...told]
}

describe('a migration that is to be completed by force', () => {
  it('goes on by post-copy where that is permitted, else by a guest that stands still', async () => {
    expect(await completed(true)).toEqual([true, 'post-copy'])
    expect(await completed(false)).toEqual([true, 'suspend'])
    expect(await completed(false, { state: 'paused' })).toEqual([true])
  })

  it('that was begun without post-copy has its guest stand still', async () => {
    expect(await completed(true, { refuses: true })).toEqual([true, 'suspend'])
  })

  it('of which nothing was sent is left alone: its guest would stand still when it is there', async () => {
    for (const permitPostCopy of [true, false]) expect(await completed(permitPostCopy, { sent: 0n })).toEqual([false])
  })
})
