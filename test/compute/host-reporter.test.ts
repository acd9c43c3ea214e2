import { pino } from 'pino'
import { describe, expect, it, vi } from 'vitest'
import { openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { HostReporter } from '../../src/compute/host-reporter.ts'
import { HostStanding } from '../../src/compute/host-standing.ts'
import { HostView } from '../../src/compute/host-view.ts'
import { NO_LIMITS } from '../../src/compute/libvirt/slot-limits.ts'
import { DEFAULT_RESOURCE_OPTIONS } from '../../src/compute/resource-tracker.ts'
import { DuplicateHost, InvalidInventory, MessagingTimeout, NoSuchServer } from '../../src/errors.ts'
import type { HostReport, ReportingWorker, UnchangedHost } from '../../src/objects/host-report.ts'
import type { RpcClient } from '../../src/rpc/client.ts'
import type { CallOptions } from '../../src/rpc/contract.ts'
import { aFolder } from './support/folders.ts'

type Heard = (report: HostReport, options: CallOptions) => void

interface ReporterOptions {
  readonly reportIntervalSeconds?: number
  readonly isAlone?: boolean
  readonly silentAfterMs?: number
  /** What the scheduler answers to a report; a scheduler of an earlier release answers nothing. */
  readonly report_digest?: string
  readonly unchanged_server?: string
}

const anotherWorker = () => new DuplicateHost('two workers say that they are host node1', { holder_id: 'another' })

/** A reporter on a simulated host, whose scheduler is a function, whose server a switch, and whose log is a list. */
async function aReporter(heard: Heard, options: ReporterOptions = {}) {
  const {
    reportIntervalSeconds = 3600,
    isAlone = true,
    silentAfterMs = 10_000,
    report_digest,
    unchanged_server,
  } = options
  const driver = await openFakeHost({ folder: await aFolder(), sev_slots: 15 })
  const logged: string[] = []
  const logger = pino({}, { write: (line: string) => void logged.push(JSON.parse(line).msg) })
  const said: string[] = []
  const hear = (how: string) => async (_: unknown, args: { report: HostReport }, options: CallOptions) => {
    said.push(how)
    heard(args.report, options)
  }
  const unchanged: UnchangedHost[] = []
  const servers: (string | undefined)[] = []
  const scheduler = {
    reportHost: hear('report'),
    announceHost: async (...asked: Parameters<ReturnType<typeof hear>>) => {
      await hear('announce')(...asked)
      return { report_digest, unchanged_server }
    },
    reportHostUnchanged: async (_: unknown, told: UnchangedHost, { server }: CallOptions) => {
      servers.push(server)
      said.push('unchanged')
      unchanged.push(told)
    },
    leaveHost: async (_: unknown, left: object) => void said.push(`leave ${JSON.stringify(left)}`),
  }
  const client = { of: () => scheduler } as unknown as Pick<RpcClient, 'of'>
  const view = new HostView({ driver, limits: NO_LIMITS, logger })
  const server = {
    isServing: false,
    async start() {
      server.isServing = true
    },
    async pause() {
      server.isServing = false
    },
  }
  const time = { ms: 0 }
  const builds = { underWay: 2 }
  let sequence = 0
  const next = (): ReportingWorker => ({ ...ME, sequence: ++sequence })
  const standing = new HostStanding({
    host: 'node1',
    server,
    isAlone: async () => isAlone,
    onServing: () => logged.push('serving'),
    logger,
  })
  const reporter = new HostReporter({
    host: 'node1',
    identity: { next },
    standing,
    driver,
    view,
    client,
    logger,
    resources: DEFAULT_RESOURCE_OPTIONS,
    ioOps: () => builds.underWay,
    traits: [],
    reportIntervalSeconds,
    now: () => time.ms,
    silentAfterMs,
  })
  return {
    driver,
    reporter,
    server,
    logged,
    said,
    unchanged,
    servers,
    time,
    builds,
    async close() {
      await reporter.close()
      await driver.close()
    },
  }
}

const ME = { worker_id: '6f3a5f0e-54c6-4b06-9f4b-0d0f5c1d5a11', machine: 'm1', pid: 12, clock_ms: 0 }
const names = ({ providers }: HostReport) => providers.map(({ name }) => name)

describe('a host reporter', () => {
  it('reports at its start, and again at every interval', async () => {
    const reports: HostReport[] = []
    const { reporter, close } = await aReporter((report) => reports.push(report), { reportIntervalSeconds: 0.01 })

    await reporter.start()

    expect(reports.map(names)).toEqual([['node1', 'node1_amd_sev']])
    await vi.waitFor(() => expect(reports.length).toBeGreaterThan(2))
    await close()
    expect(reports.map(({ worker }) => worker?.sequence)).toEqual(reports.map((_, n) => n + 1))
  })

  it('wants an answer to what is news, and to one report of ten that say the same', async () => {
    const { driver, reporter, said, close } = await aReporter(() => {})
    await reporter.start()
    for (let n = 0; n < 11; n++) await reporter.report()
    driver.reconfigure({ sev_slots: 3 })
    await reporter.report()

    const tenTimes = Array.from({ length: 10 }, () => 'report')
    expect(said).toEqual(['announce', ...tenTimes, 'announce', 'announce'])
    await close()
  })

  it('says that nothing is new to the server that the scheduler named, and all else to any', async () => {
    const told = { report_digest: 'd'.repeat(64), unchanged_server: '_signs' }
    const named: (string | undefined)[] = []
    const { reporter, servers, close } = await aReporter((_, { server }) => named.push(server), told)
    await reporter.start()
    for (let n = 0; n < 11; n++) await reporter.report()

    expect(servers).toEqual(Array.from({ length: 10 }, () => '_signs'))
    expect(named).toEqual([undefined, undefined])
    await close()
  })

  it('says no more than that nothing is new, once it was told by which word, until it tells something else', async () => {
    const report_digest = 'd'.repeat(64)
    const { reporter, builds, said, unchanged, close } = await aReporter(() => {}, { report_digest })
    await reporter.start()
    await reporter.report()
    builds.underWay = 3
    await reporter.report()
    builds.underWay = 2
    for (let n = 0; n < 10; n++) await reporter.report()

    expect(said).toEqual([
      ...['announce', 'unchanged', 'report'],
      ...Array.from({ length: 8 }, () => 'report'),
      ...['announce', 'unchanged'],
    ])
    expect(unchanged).toEqual(
      [2, 13].map((sequence) => ({ host: 'node1', report_digest, worker: { ...ME, sequence } })),
    )
    await close()
  })

  it('tells of a hypervisor that hangs as it was, and that it does not answer, until it does', async () => {
    const reports: HostReport[] = []
    const { driver, reporter, said, close } = await aReporter((report) => reports.push(report), { silentAfterMs: 0 })
    await reporter.start()
    driver.reconfigure({ hangs: true })

    await reporter.report()

    expect(said).toEqual(['announce', 'announce'])
    expect(reports[1]).toMatchObject({
      providers: reports[0]?.providers,
      hypervisor_silence: { since: expect.any(String) },
    })
    expect(await reporter.trouble()).toMatch(/^simulated host does not answer since .+: no answer to a question/)
    driver.reconfigure({ hangs: false, sev_slots: 3 })
    await vi.waitFor(() => expect(reports.length).toBeGreaterThan(2))
    await vi.waitFor(async () => expect(await reporter.trouble()).toBeUndefined())
    expect(reports.at(-1)).not.toHaveProperty('hypervisor_silence')
    expect(reports.at(-1)?.providers[1]?.inventories.MEM_ENCRYPTION_CONTEXT?.total).toBe(3)
    await close()
  })

  it('sends reports that expire, so that old ones do not make a dead host look alive', async () => {
    const sent: CallOptions[] = []
    const { reporter, close } = await aReporter((_, options) => sent.push(options), { reportIntervalSeconds: 10 })

    await reporter.start()
    await reporter.report()

    expect(sent).toEqual([
      expect.objectContaining({ timeoutMs: 5000 }),
      expect.objectContaining({ timeoutMs: 10_000, expirationMs: 20_000 }),
    ])
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
    expect(logged).toEqual(['the host offers', 'serving', 'the host has changed, and offers now'])
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
      'serving',
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

  it('serves when its report is taken, and not before', async () => {
    const states: boolean[] = []
    const { reporter, server, close } = await aReporter(() => states.push(server.isServing))

    await reporter.start()
    await reporter.report()

    expect([...states, server.isServing]).toEqual([false, true, true])
    await close()
  })

  it('does not serve beside another worker of its host name, says so once, and serves when it is taken', async () => {
    let isOther = true
    const { reporter, server, logged, close } = await aReporter(() => {
      if (isOther) throw anotherWorker()
    })

    await reporter.start()
    await reporter.report()
    expect(server.isServing).toBe(false)
    await expect(reporter.confirm()).rejects.toMatchObject({ code: 'SERVICE_STOPPING' })
    expect(await reporter.trouble()).toBe(
      'the last report did not get through: two workers say that they are host node1',
    )
    isOther = false
    await reporter.report()

    expect(logged).toEqual([
      'the host offers',
      'this worker takes no requests: two workers say that they are host node1',
      'this worker is the one of its host now',
      'serving',
      'reports reach the scheduler again',
    ])
    await reporter.confirm()
    await close()
  })

  it('stops to serve when another worker is taken in its place, also while nobody answers after that', async () => {
    let failure: Error | undefined
    const { reporter, server, close } = await aReporter(() => {
      if (failure) throw failure
    })
    await reporter.start()

    failure = anotherWorker()
    await reporter.report()
    expect(server.isServing).toBe(false)
    failure = new MessagingTimeout('no answer')
    await reporter.report()

    expect(server.isServing).toBe(false)
    await close()
  })

  it.each([
    [true, new NoSuchServer('nobody serves sevbus-scheduler')],
    [true, new InvalidInventory('it has -1 VCPU')],
    [false, new NoSuchServer('nobody serves sevbus-scheduler')],
  ])('serves without a scheduler that takes it when it is alone on its queue: %s, %s', async (isAlone, failure) => {
    const { reporter, server, close } = await aReporter(
      () => {
        throw failure
      },
      { isAlone },
    )

    await reporter.start()

    expect(server.isServing).toBe(isAlone)
    await close()
  })

  it('asks before it takes up a request when it has told nothing for long: it may have been replaced', async () => {
    let isOther = false
    const given = await aReporter(
      () => {
        if (isOther) throw anotherWorker()
      },
      { reportIntervalSeconds: 10 },
    )
    const { reporter, said, time } = given
    await reporter.start()
    isOther = true

    time.ms = 30_000
    await reporter.confirm()
    expect(said).toEqual(['announce'])
    time.ms = 30_001

    await expect(reporter.confirm()).rejects.toMatchObject({ code: 'SERVICE_STOPPING' })
    expect([said, given.server.isServing]).toEqual([['announce', 'announce'], false])
    await given.close()
  })

  it('lets all requests wait for the answer that came together after it had told nothing for long', async () => {
    let isOther = false
    const { reporter, said, time, close } = await aReporter(
      () => {
        if (isOther) throw anotherWorker()
      },
      { reportIntervalSeconds: 10 },
    )
    await reporter.start()
    isOther = true
    time.ms = 30_001

    const answers = await Promise.allSettled(Array.from({ length: 3 }, () => reporter.confirm()))

    expect(answers.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(said).toEqual(['announce', 'announce'])
    await close()
  })

  it('does not trust the answer to a report that was begun before it was suspended', async () => {
    let isOther = false
    const given = await aReporter(
      () => {
        // The process wakes up with the answer in hand, and the host is another's since.
        if (!isOther) given.time.ms += 40_000
        if (isOther) throw anotherWorker()
      },
      { reportIntervalSeconds: 10 },
    )
    const { reporter, said, close } = given
    await reporter.start()
    isOther = true

    await expect(reporter.confirm()).rejects.toMatchObject({ code: 'SERVICE_STOPPING' })
    expect(said).toEqual(['announce', 'announce'])
    await close()
  })

  it('lets one request in a while wait for a scheduler that does not answer, and not each', async () => {
    let isAway = false
    const { reporter, said, time, close } = await aReporter(
      () => {
        if (isAway) throw new MessagingTimeout('no answer')
      },
      { reportIntervalSeconds: 10 },
    )
    await reporter.start()
    isAway = true

    time.ms = 40_000
    for (let n = 0; n < 3; n++) await reporter.confirm()

    expect(said).toEqual(['announce', 'announce'])
    await close()
  })

  it('says goodbye once it serves nothing any more, if it was taken', async () => {
    const { reporter, server, said, close } = await aReporter(() => {})
    await reporter.leave()
    await reporter.start()
    await close()
    await reporter.leave()
    expect(said).toEqual(['announce'])

    await server.pause()
    await reporter.leave()

    expect(said).toEqual([
      'announce',
      `leave ${JSON.stringify({ host: 'node1', worker_id: ME.worker_id, sequence: 2 })}`,
    ])
  })
})
