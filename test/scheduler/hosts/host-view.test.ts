import { EventEmitter, once } from 'node:events'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { DatabaseUnavailable } from '../../../src/errors.ts'
import { HostView } from '../../../src/scheduler/hosts/host-view.ts'
import type { HostSeen } from '../../../src/scheduler/placement/feed.ts'
import { aHost } from '../builders.ts'

const STARTED = Date.parse('2026-03-01T10:00:00Z')

/** A database with hosts that report every 10 s, and a scheduler that looks every second; time passes by itself. */
async function aView(...names: readonly string[]) {
  let now = 0
  let databaseClock = STARTED
  let isDown = false
  const answer = <T>(value: T) => {
    if (isDown) throw new DatabaseUnavailable('no answer')
    return value
  }
  const seen = new Map<string, HostSeen>(
    names.map((host) => [host, { host, lastSeenUp: new Date(STARTED), downSince: undefined }]),
  )
  const noted: string[] = []
  const lines: { msg: string; host?: string }[] = []
  const hosts = names.map((name) => aHost(name, { state: { reportIntervalSeconds: 10 } }))
  const view = new HostView({
    placement: {
      changesSince: async () => answer({ cursor: '1', hosts, uses: [], removed: [], complete: true }),
      hostsSeen: async (since) =>
        answer([...seen.values()].filter(({ lastSeenUp }) => since === undefined || lastSeenUp >= since)),
      noteDown: async (silent) => {
        noted.push(...answer(silent))
      },
    },
    refreshIntervalMs: 1000,
    logger: pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) }),
    now: () => now,
  })
  await view.refreshAll()
  return {
    view,
    seen,
    noted,
    lines,
    up: () => view.table.list().flatMap(({ host, up }) => (up ? [host] : [])),
    async pass(seconds: number, reporting: readonly string[] = []) {
      for (let second = 1; second <= seconds; second++) {
        now += 1000
        databaseClock += 1000
        if (second % 10 === 0 && !isDown) {
          for (const host of reporting)
            seen.set(host, { host, lastSeenUp: new Date(databaseClock), downSince: undefined })
        }
        await view.refreshAll().catch(() => {})
      }
    },
    pause: () => {
      isDown = true
    },
    resume: () => {
      isDown = false
    },
    jump: (seconds: number) => {
      databaseClock += seconds * 1000
    },
    suspend: (seconds: number) => {
      now += seconds * 1000
      databaseClock += seconds * 1000
    },
  }
}

type Placement = ConstructorParameters<typeof HostView>[0]['placement']

/** One host, of which nothing is heard, and what is another way. */
function aPlacement(other: Partial<Placement> = {}): Placement {
  return {
    changesSince: async () => ({ cursor: '1', hosts: [aHost('cn-1')], uses: [], removed: [], complete: true }),
    hostsSeen: async () => [],
    noteDown: async () => {},
    ...other,
  }
}

describe('a scheduler that watches its hosts', () => {
  it('holds one for dead that no longer reports, says so once, and takes it back when it reports', async () => {
    const given = await aView('alive', 'silent')

    await given.pass(62, ['alive'])

    expect(given.up()).toEqual(['alive'])
    expect(given.noted).toEqual(['silent'])
    await given.pass(60, ['alive'])
    expect(given.noted).toEqual(['silent'])
    await given.pass(10, ['alive', 'silent'])
    expect(given.up()).toEqual(['alive', 'silent'])
    expect(given.lines).toEqual([
      { level: 40, host: 'silent', seconds_silent: 64, msg: 'host is down' },
      { level: 30, host: 'silent', msg: 'host is up again' },
    ])
  })

  it('holds nobody for dead after a pause of the database, in which nobody could report', async () => {
    const given = await aView('cn-1', 'cn-2')
    await given.pass(30, ['cn-1', 'cn-2'])

    given.pause()
    await given.pass(3600, ['cn-1', 'cn-2'])
    expect(given.view.ageSeconds).toBe(3600)
    given.resume()
    await given.pass(9)
    await given.pass(10, ['cn-1', 'cn-2'])

    expect(given.up()).toEqual(['cn-1', 'cn-2'])
    expect(given.noted).toEqual([])
    expect(given.view.ageSeconds).toBe(0)
  })

  it('holds nobody for dead when it was suspended itself', async () => {
    const given = await aView('cn-1', 'cn-2')
    await given.pass(30, ['cn-1', 'cn-2'])

    given.suspend(86_400)
    await given.pass(20, ['cn-1', 'cn-2'])

    expect(given.up()).toEqual(['cn-1', 'cn-2'])
    expect(given.noted).toEqual([])
  })

  it.each([-86_400, 86_400])('holds nobody for dead when the clock of the database jumps by %d s', async (seconds) => {
    const given = await aView('cn-1', 'cn-2')
    await given.pass(30, ['cn-1', 'cn-2'])

    given.jump(seconds)
    await given.pass(200, ['cn-1', 'cn-2'])
    given.jump(-seconds)
    await given.pass(200, ['cn-1', 'cn-2'])

    expect(given.up()).toEqual(['cn-1', 'cn-2'])
    expect(given.noted).toEqual([])
  })

  it('sees the dead although the clock of the database jumped', async () => {
    const given = await aView('alive', 'silent')
    await given.pass(30, ['alive', 'silent'])

    given.jump(-86_400)
    await given.pass(100, ['alive'])

    expect(given.up()).toEqual(['alive'])
    expect(given.noted).toEqual(['silent'])
  })
})

describe('readings of the hosts', () => {
  it('serve all who ask at a time, and those who ask meanwhile by the next', async () => {
    const answers: (() => void)[] = []
    const view = new HostView({
      placement: aPlacement({
        changesSince: () => new Promise((resolve) => answers.push(() => resolve(aPlacement().changesSince()))),
      }),
      logger: pino({ level: 'silent' }),
    })
    const ended: string[] = []
    const ask = (who: string) => view.refresh().then(() => ended.push(who))

    const asked = [ask('first'), ask('second'), ask('third')]
    answers.shift()?.()
    await asked[0]
    expect(ended).toEqual(['first'])
    expect(answers).toHaveLength(1)
    answers.shift()?.()
    await Promise.all(asked)

    expect(ended).toEqual(['first', 'second', 'third'])
    expect(answers).toEqual([])
  })

  it('end before the view has closed, so that the database can close next, and then there is no other', async () => {
    const happened: string[] = []
    const begun = new EventEmitter()
    let answer = () => {}
    const view = new HostView({
      placement: aPlacement({
        hostsSeen: async (since) => {
          if (happened.push(since === undefined ? 'the first look' : 'a look') === 1) {
            return [{ host: 'cn-1', lastSeenUp: new Date(), downSince: undefined }]
          }
          begun.emit('look')
          await new Promise<void>((resolve) => {
            answer = resolve
          })
          happened.push('it ends')
          return []
        },
      }),
      refreshIntervalMs: 1,
      logger: pino({ level: 'silent' }),
    })
    const looking = once(begun, 'look')
    await view.start()
    await looking

    const closed = view.close().then(() => happened.push('closed'))
    answer()
    await closed

    expect(happened).toEqual(['the first look', 'a look', 'it ends', 'closed'])
  })

  it('are followed by what else is to be kept up, where nobody has asked for them', async () => {
    let looked = () => {}
    const first = new Promise<void>((resolve) => {
      looked = resolve
    })
    const known: number[] = []
    const view = new HostView({
      placement: aPlacement(),
      refreshIntervalMs: 1,
      onLook: async () => {
        known.push(view.table.size)
        looked()
      },
      logger: pino({ level: 'silent' }),
    })
    await view.refreshAll()
    expect(known).toEqual([])

    await view.start()
    await first
    await view.close()

    expect(known[0]).toBe(1)
  })

  it('go on by themselves after one that failed, and say so once', async () => {
    let fails = 0
    const lines: string[] = []
    let onLine = (_line: string) => {}
    const spoken = (msg: string) =>
      new Promise<void>((resolve) => {
        onLine = (line) => line === msg && resolve()
      })
    const view = new HostView({
      placement: aPlacement({
        changesSince: async () => {
          if (lines.length > 0 && fails++ < 3) throw new DatabaseUnavailable('no answer')
          return aPlacement().changesSince()
        },
      }),
      refreshIntervalMs: 1,
      logger: pino(
        {},
        {
          write: (line) => {
            const { msg } = JSON.parse(line) as { msg: string }
            lines.push(msg)
            onLine(msg)
          },
        },
      ),
    })

    const again = spoken('hosts are read again')
    await view.start()
    await again
    await view.close()

    expect(lines).toEqual([
      'hosts were read',
      'hosts cannot be read: what is known grows old, and claims decide',
      'hosts are read again',
    ])
  })
})
