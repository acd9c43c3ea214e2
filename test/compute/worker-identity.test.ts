import { cp, readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openWorkerIdentity } from '../../src/compute/worker-identity.ts'
import { ReportingWorker, SEQUENCES_PER_START } from '../../src/objects/host-report.ts'
import { aFolder } from './support/folders.ts'

const thisBoot = { bootId: async () => 'boot-1', clock: () => 1000 }

describe('the identity of a worker', () => {
  it('is of its state folder: a restart has the same id, and numbers above all before', async () => {
    const folder = await aFolder()
    const first = await openWorkerIdentity(folder, thisBoot)
    const reports = [first.next(), first.next()]

    const second = await openWorkerIdentity(folder, thisBoot)
    reports.push(second.next())

    const { worker_id } = reports[0] as ReportingWorker
    const common = { worker_id, machine: hostname(), pid: process.pid, clock_ms: 1000 }
    expect(reports).toEqual([
      { ...common, sequence: SEQUENCES_PER_START + 1 },
      { ...common, sequence: SEQUENCES_PER_START + 2 },
      { ...common, sequence: 2 * SEQUENCES_PER_START + 1 },
    ])
    for (const report of reports) expect(ReportingWorker.safeParse(report).success).toBe(true)
  })

  it('is another one on another boot, in a copy of the folder, and where the file cannot be read', async () => {
    const folder = await aFolder()
    const ids = [(await openWorkerIdentity(folder, thisBoot)).next().worker_id]
    const copy = join(await aFolder(), 'copy')
    await cp(folder, copy, { recursive: true })

    ids.push((await openWorkerIdentity(copy, thisBoot)).next().worker_id)
    ids.push((await openWorkerIdentity(folder, { bootId: async () => 'boot-2' })).next().worker_id)
    await writeFile(join(folder, 'worker.json'), '{"worker_id": 7}')
    ids.push((await openWorkerIdentity(folder, { bootId: async () => 'boot-2' })).next().worker_id)

    expect(new Set(ids).size).toBe(4)
  })

  it('knows this boot of this machine by itself', async () => {
    const folder = await aFolder()
    const { worker_id } = (await openWorkerIdentity(folder)).next()

    expect((await openWorkerIdentity(folder)).next().worker_id).toBe(worker_id)
    const { boot_id } = JSON.parse(await readFile(join(folder, 'worker.json'), 'utf8'))
    expect(boot_id).toBe((await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')).trim())
  })
})
