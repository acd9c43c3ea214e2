import { describe, expect, it, vi } from 'vitest'
import type { Instance } from '../../src/objects/instance.ts'
import type { MigrationOrder } from '../../src/objects/instance-action.ts'
import type { LiveMigrateData } from '../../src/objects/live-migrate-data.ts'
import { at, booted, failedWith, guestOf, reported } from './support/act.ts'
import { type ComputeWorker, HOST, request, type WorkerOptions, withWorker } from './support/compute-worker.ts'
import type { InstanceChanges } from './support/instances.ts'
import { killsDuring } from './support/kills-during.ts'

const MIGRATION = 'aaaaaaaa-0000-4000-8000-000000000001'
const withCode = (code: string) => expect.objectContaining({ code })
/** The same at its destination, as try 2. */
const there = (instance: Instance): Instance => ({ ...at(instance, 'active', 'migrating_finish'), attempt: 2 })
const arrived = ({ uuid }: Instance) => ({
  method: 'report_build',
  instance_uuid: uuid,
  attempt: 2,
  host: HOST,
  outcome: { result: 'active', launched_at: expect.any(String) },
})

interface Hosts {
  readonly source: ComputeWorker
  readonly dest: ComputeWorker
  readonly instance: Instance
}

/** A guest that runs on one of two hosts. */
async function onTwoHosts(
  options: { readonly source?: WorkerOptions; readonly dest?: WorkerOptions; readonly guest?: InstanceChanges },
  work: (hosts: Hosts) => Promise<void>,
): Promise<void> {
  await withWorker(options.source ?? {}, (source) =>
    withWorker(options.dest ?? {}, async (dest) => {
      await work({ source, dest, instance: await booted(source, options.guest) })
    }),
  )
}

async function prepare({ source, dest, instance }: Hosts): Promise<LiveMigrateData> {
  const { storage, disks } = await source.manager.checkCanLiveMigrateSource({ instance }, request)
  const allocations = [] as never[]
  await dest.manager.checkCanLiveMigrateDestination({ instance: there(instance), allocations, storage }, request)
  return (await dest.manager.preLiveMigration({ instance: there(instance), disks }, request)).migrate_data
}

async function send(source: ComputeWorker, instance: Instance, migrate_data: LiveMigrateData, number = 1) {
  const args = { instance: at(instance, 'active', 'migrating'), number, dest: 'node2', migrate_data }
  await source.manager.liveMigration(args, request)
  await source.manager.idle()
}

async function takeOver(dest: ComputeWorker, instance: Instance) {
  await dest.manager.postLiveMigrationAtDestination({ instance: there(instance) }, request)
  await dest.manager.idle()
}

async function rollBack(dest: ComputeWorker, instance: Instance) {
  const args = { instance: there(instance), migration_uuid: MIGRATION }
  await dest.manager.rollbackLiveMigrationAtDestination(args, request)
  await dest.manager.idle()
}

describe('a guest that goes to another host as it runs', () => {
  it('runs there, and its source keeps it off and defined until it is told to remove it; each asked again, no more happens', async () => {
    await onTwoHosts({}, async (hosts) => {
      const { source, dest, instance } = hosts

      const data = await prepare(hosts)
      expect(await prepare(hosts)).toEqual(data)
      expect(await guestOf(dest, instance)).toBeUndefined()
      for (let n = 0; n < 2; n++) await send(source, instance, data)
      expect([await guestOf(source, instance), await guestOf(dest, instance)]).toEqual(['shutoff', 'running'])
      for (let n = 0; n < 2; n++) await takeOver(dest, instance)

      expect(await source.sent()).toEqual([reported(instance, 1), reported(instance, 1)])
      expect(await dest.sent()).toEqual([arrived(instance)])
      await source.manager.terminateInstance({ instance, void: true, migration_uuid: MIGRATION }, request)
      await source.manager.idle()
      expect(await source.leftovers()).toEqual({ guests: [], disks: [] })
      expect(await guestOf(dest, instance)).toBe('running')
    })
  })

  it('is left alone at its destination before it is taken over, and is known there', async () => {
    await onTwoHosts({}, async (hosts) => {
      await send(hosts.source, hosts.instance, await prepare(hosts))

      expect(hosts.dest.manager.isBusy(hosts.instance.uuid)).toBe(true)
      const { guests } = await hosts.dest.manager.listGuests({}, request)
      expect(guests).toMatchObject([
        { uuid: hosts.instance.uuid, state: 'running', attempt: 2, over: false, work: 'build' },
      ])
      await takeOver(hosts.dest, hosts.instance)
      expect(hosts.dest.manager.isBusy(hosts.instance.uuid)).toBe(false)
    })
  })

  it('does not go when it is encrypted: neither asked, nor by the word of QEMU', async () => {
    await onTwoHosts({ guest: { model: 'amd-sev' } }, async ({ source, dest, instance }) => {
      const refused = withCode('OPERATION_NOT_SUPPORTED_FOR_SEV')
      await expect(source.manager.checkCanLiveMigrateSource({ instance }, request)).rejects.toThrow(refused)
      const data = { folder: dest.folder, definition: 'x', target_connect_addr: null, graphics_listen_addr: null }
      const never = new AbortController().signal
      await expect(source.host.liveMigrate(instance.uuid, 'node2', data, never)).rejects.toThrow(refused)

      await send(source, instance, data)
      await send(source, { ...instance, mem_encryption: null }, data, 2)

      expect(await guestOf(source, instance)).toBe('running')
      const told = failedWith('OPERATION_NOT_SUPPORTED_FOR_SEV', 'running')
      expect(await source.sent()).toEqual([reported(instance, 1, told), reported(instance, 2, told)])
    })
  })

  it('stays when it cannot leave, and when the destination is not there', async () => {
    await onTwoHosts({ source: { fake: { fail_migration: true } } }, async (hosts) => {
      const { source, instance } = hosts
      const data = await prepare(hosts)
      await send(source, instance, data)
      source.host.reconfigure({ fail_migration: false })
      await send(source, instance, { ...data, folder: '/not/there' }, 2)

      expect(await guestOf(source, instance)).toBe('running')
      const told = failedWith('MIGRATION_ERROR', 'running')
      expect(await source.sent()).toEqual([reported(instance, 1, told), reported(instance, 2, told)])
    })
  })

  it('is not expected by a host that does not see its disks, and does not leave one where it is off', async () => {
    await onTwoHosts({ dest: { fake: { storage: 'elsewhere' } } }, async (hosts) => {
      await expect(prepare(hosts)).rejects.toThrow(withCode('INVALID_SHARED_STORAGE'))
      await hosts.source.host.powerOff(hosts.instance.uuid)
      await expect(prepare(hosts)).rejects.toThrow(withCode('INSTANCE_INVALID_STATE'))
      expect(await hosts.dest.leftovers()).toEqual({ guests: [], disks: [] })
    })
  })

  it('that has not come is told as that, and cannot come any more', async () => {
    await onTwoHosts({}, async (hosts) => {
      const { source, dest, instance } = hosts
      const data = await prepare(hosts)

      await takeOver(dest, instance)
      expect(await dest.sent()).toMatchObject([{ outcome: { result: 'failed', fault: { code: 'MIGRATION_ERROR' } } }])
      await send(source, instance, data)

      expect(await guestOf(dest, instance)).toBeUndefined()
      expect(await dest.leftovers()).toEqual({ guests: [], disks: [] })
    })
  })

  it.each(['before', 'after'] as const)(
    'is removed at its destination %s it has come, and its try is over there',
    async (when) => {
      await onTwoHosts({}, async (hosts) => {
        const { source, dest, instance } = hosts
        const data = await prepare(hosts)
        if (when === 'after') await send(source, instance, data)

        await rollBack(dest, instance)
        await rollBack(dest, instance)

        expect(await dest.leftovers()).toEqual({ guests: [], disks: [] })
        const gone = { method: 'report_terminated', attempt: 2, migration_uuid: MIGRATION }
        expect(await dest.sent()).toMatchObject([gone, gone])
        const disks = { folder: 'x', files: [{ name: 'disk', bytes: 0 }] }
        const again = dest.manager.preLiveMigration({ instance: there(instance), disks }, request)
        await expect(again).rejects.toThrow(withCode('STALE_ATTEMPT'))
        await takeOver(dest, instance)
        expect(await dest.sent()).toEqual([])
      })
    },
  )

  it('that stands still at its source goes on there, with all that it has', async () => {
    await onTwoHosts({}, async ({ source, instance }) => {
      await source.host.pause(instance.uuid)
      const args = { instance: at(instance, 'active', 'migrating_reverting'), number: 1 }

      await source.manager.rollbackLiveMigration(args, request)
      await source.manager.idle()

      expect(await guestOf(source, instance)).toBe('running')
    })
  })
})

/** Of a guest that writes too fast to come: what somebody wants then, as the conductor says it. */
async function order(source: ComputeWorker, instance: Instance, what: MigrationOrder, number = 1) {
  const args = { instance: at(instance, 'active', 'migrating'), number }
  if (what === 'abort') await source.manager.liveMigrationAbort(args, request)
  else await source.manager.liveMigrationForceComplete(args, request)
}

/** Begins to send it, and returns while it is under way. */
async function begin(source: ComputeWorker, instance: Instance, migrate_data: LiveMigrateData) {
  const args = { instance: at(instance, 'active', 'migrating'), number: 1, dest: 'node2', migrate_data }
  await source.manager.liveMigration(args, request)
}

const notCome = (instance: Instance) => reported(instance, 1, failedWith('MIGRATION_ERROR', 'running'))

describe('a guest that writes faster than its memory is sent', () => {
  const slow = { source: { fake: { holds_migrations: true } } }

  it('stays where it runs when that is given up, and a late order is nothing', async () => {
    await onTwoHosts(slow, async (hosts) => {
      const { source, instance } = hosts
      await order(source, instance, 'abort')
      await begin(source, instance, await prepare(hosts))

      await order(source, instance, 'abort')
      await source.manager.idle()
      await order(source, instance, 'abort')
      await order(source, instance, 'force_complete')

      expect(await source.sent()).toEqual([notCome(instance)])
      expect([await guestOf(source, instance), await guestOf(hosts.dest, instance)]).toEqual(['running', undefined])
    })
  })

  it('comes when it is forced', async () => {
    await onTwoHosts(slow, async (hosts) => {
      const { source, dest, instance } = hosts
      await begin(source, instance, await prepare(hosts))

      for (let n = 0; n < 2; n++) await order(source, instance, 'force_complete')
      await source.manager.idle()

      expect(await source.sent()).toEqual([reported(instance, 1)])
      expect([await guestOf(source, instance), await guestOf(dest, instance)]).toEqual(['shutoff', 'running'])
    })
  })

  it('that stands still so that it comes, and does not, goes on where it is', async () => {
    await onTwoHosts(slow, async (hosts) => {
      const { source, instance } = hosts
      await begin(source, instance, await prepare(hosts))
      await vi.waitFor(() => expect(source.host.isGoing(instance.uuid)).toBe(true))
      await source.host.pause(instance.uuid)
      source.host.reconfigure({ fail_migration: true })

      await order(source, instance, 'force_complete')
      await source.manager.idle()

      expect(await source.sent()).toEqual([notCome(instance)])
      expect(await guestOf(source, instance)).toBe('running')
    })
  })
})

describe('a worker that is killed while a guest goes', () => {
  it('as the source, goes on when it starts, and tells the end once: the guest does not run there again', async () => {
    await withWorker({}, async (dest) => {
      const { prepared: given, kills } = await killsDuring(
        async (source) => {
          const instance = await booted(source)
          return { instance, data: await prepare({ source, dest, instance }) }
        },
        (source, { instance, data }) => send(source, instance, data),
      )
      const { instance } = given
      for (const { folder } of kills.slice(1)) {
        await withWorker({ folder }, async (source) => {
          source.manager.recover()
          await source.manager.idle()
          expect(await guestOf(source, instance)).toBe('shutoff')
          expect((await source.sent()).at(-1)).toEqual(reported(instance, 1))
        })
      }
      expect(kills.length).toBeGreaterThan(3)
      expect(await guestOf(dest, instance)).toBe('running')
    })
  })

  it.each([
    ['abort', 'running'],
    ['force_complete', 'shutoff'],
  ] as const)('as the source that was told to %s it, does so when it starts', async (what, becomes) => {
    await withWorker({}, async (dest) => {
      const { prepared: given, kills } = await killsDuring(
        async (source) => {
          source.host.reconfigure({ holds_migrations: true })
          const instance = await booted(source)
          return { instance, data: await prepare({ source, dest, instance }) }
        },
        async (source, { instance, data }) => {
          await begin(source, instance, data)
          await order(source, instance, what)
          await source.manager.idle()
        },
      )
      const { instance, data } = given
      for (const { folder } of kills) {
        await withWorker({ folder, fake: { holds_migrations: true } }, async (source) => {
          source.manager.recover()
          // Its conductor says both again.
          await begin(source, instance, data)
          await order(source, instance, what)
          await source.manager.idle()

          expect(await guestOf(source, instance)).toBe(becomes)
          const end = what === 'abort' ? notCome(instance) : reported(instance, 1)
          expect((await source.sent()).at(-1)).toEqual(end)
        })
      }
      expect(kills.length).toBeGreaterThan(4)
    })
  })

  it('as the destination, before the guest is sent, is made ready by asking again', async () => {
    await withWorker({}, async (source) => {
      const instance = await booted(source)
      const { kills } = await killsDuring(
        async () => undefined,
        async (dest) => void (await prepare({ source, dest, instance })),
      )
      for (const { folder } of kills) {
        await withWorker({ folder }, async (dest) => {
          dest.manager.recover()
          await prepare({ source, dest, instance })
          await dest.manager.idle()
          expect(dest.host.disks()).toEqual([instance.uuid])
        })
      }
    })
  })

  it('as the destination, after that, never takes the guest away that has come', async () => {
    await withWorker({}, async (source) => {
      const { prepared: instance, kills } = await killsDuring(async (dest) => {
        const guest = await booted(source)
        await send(source, guest, await prepare({ source, dest, instance: guest }))
        await guestOf(dest, guest)
        return guest
      }, takeOver)
      for (const { folder } of kills) {
        await withWorker({ folder }, async (dest) => {
          dest.manager.recover()
          await dest.manager.idle()
          await takeOver(dest, instance)
          expect(await guestOf(dest, instance)).toBe('running')
          expect((await dest.sent()).at(-1)).toEqual(arrived(instance))
        })
      }
      expect(kills.length).toBeGreaterThan(3)
    })
  })
})
