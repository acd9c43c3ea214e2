import { pino } from 'pino'
import { describe, expect, it, vi } from 'vitest'
import { openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { HostReporter } from '../../src/compute/host-reporter.ts'
import { HostView } from '../../src/compute/host-view.ts'
import { NO_LIMITS } from '../../src/compute/libvirt/slot-limits.ts'
import { DEFAULT_RESOURCE_OPTIONS } from '../../src/compute/resource-tracker.ts'
import { NoSuchServer } from '../../src/errors.ts'
import type { HostReport } from '../../src/objects/host-report.ts'
import type { RpcClient } from '../../src/rpc/client.ts'
import type { CallOptions } from '../../src/rpc/contract.ts'
import { aFolder } from './support/folders.ts'

/** A reporter on a simulated host, whose scheduler is a function, and whose log is a list. */
async function aReporter(reportHost: (report: HostReport, options: CallOptions) => void, reportIntervalSeconds = 3600) {
  const driver = await openFakeHost({ folder: await aFolder(), sev_slots: 15 })
  const logged: string[] = []
  const logger = pino({}, { write: (line: string) => void logged.push(JSON.parse(line).msg) })
  const scheduler = {
    reportHost: async (_: unknown, { report }: { report: HostReport }, options: CallOptions) =>
      reportHost(report, options),
  }
  const client = { of: () => scheduler } as unknown as Pick<RpcClient, 'of'>
  const view = new HostView({ driver, limits: NO_LIMITS, logger })
  const options = {
    host: 'node1',
    driver,
    view,
    client,
    logger,
    resources: DEFAULT_RESOURCE_OPTIONS,
    ioOps: () => 2,
    traits: [],
    reportIntervalSeconds,
  }
  const reporter = new HostReporter(options)
  return {
    driver,
    reporter,
    logged,
    async close() {
      await reporter.close()
      await driver.close()
    },
  }
}

const names = ({ providers }: HostReport) => providers.map(({ name }) => name)

describe('a host reporter', () => {
  it('reports at its start, and again at every interval', async () => {
    const reports: HostReport[] = []
    const { reporter, close } = await aReporter((report) => reports.push(report), 0.01)

    await reporter.start()

    expect(reports.map(names)).toEqual([['node1', 'node1_amd_sev']])
    await vi.waitFor(() => expect(reports.length).toBeGreaterThan(2))
    await close()
  })

  it('sends reports that expire, so that old ones do not make a dead host look alive', async () => {
    const sent: CallOptions[] = []
    const { reporter, close } = await aReporter((_, options) => sent.push(options), 10)

    await reporter.start()

    expect(sent).toEqual([expect.objectContaining({ expirationMs: 20_000 })])
    await close()
  })

  it('publishes what changed on the machine, without a restart', async () => {
    const reports: HostReport[] = []
    const { driver, reporter, logged, close } = await aReporter((report) => reports.push(report))
    await reporter.start()

    driver.reconfigure({ sev_slots: 0 })
    await reporter.report()

    expect(reports.map(names)).toEqual([['node1', 'node1_amd_sev'], ['node1']])
    expect(reports[1]?.missing_models['amd-sev']).toMatch(/kvm_amd/)
    expect(logged).toEqual(['the host offers', 'the host has changed, and offers now'])
    await close()
  })

  it('goes on when nobody listens, says so once, and says when somebody does again', async () => {
    let isAway = true
    const { reporter, logged, close } = await aReporter(() => {
      if (isAway) throw new NoSuchServer('nobody serves sevbus-scheduler')
    })

    await reporter.start()
    await reporter.report()
    isAway = false
    await reporter.report()

    expect(logged).toEqual([
      'the host offers',
      'the host could not be reported: nobody serves sevbus-scheduler',
      'reports reach the scheduler again',
    ])
    await close()
  })

  it('reports nothing after its end', async () => {
    const reports: HostReport[] = []
    const { reporter, close } = await aReporter((report) => reports.push(report))
    await close()

    await reporter.report()

    expect(reports).toEqual([])
  })
})
