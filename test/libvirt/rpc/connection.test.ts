import { once } from 'node:events'
import { connect } from 'node:net'
import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { int, list } from '../../../src/compute/libvirt/rpc/codec.ts'
import { Connection, NotSent } from '../../../src/compute/libvirt/rpc/connection.ts'
import { encodeFrame, type Frame, MESSAGE_TYPE, STATUS } from '../../../src/compute/libvirt/rpc/frame.ts'
import { guestEvent } from '../../../src/compute/libvirt/rpc/guest-events.ts'
import { KEEPALIVE } from '../../../src/compute/libvirt/rpc/keepalive.ts'
import { PROCEDURES, REMOTE } from '../../../src/compute/libvirt/rpc/procedures.ts'
import {
  HypervisorTimeout,
  HypervisorUnavailable,
  InvalidLibvirtMessage,
  LibvirtError,
  SevbusError,
} from '../../../src/errors.ts'
import { FakeDaemon, Refusal } from './fake-daemon.ts'

const UUID = '7d5d3a3e-0c0b-4c2f-9a51-2f6a8f0d1c11'
const STATE = { dom: { name: '', uuid: UUID, id: -1 }, flags: 0 }
const LONG = { timeoutMs: 60_000 }

async function connected(daemon: FakeDaemon, { maxInFlight = 4, stuckMs = 60_000, onMessage = (_: Frame) => {} } = {}) {
  const socket = connect(daemon.path)
  await once(socket, 'connect')
  return new Connection(socket, { maxInFlight, stuckMs, onMessage })
}

function never<T>(): Promise<T> {
  return new Promise(() => {})
}

/** An answer that comes when it is told to. */
function later<T>() {
  let answer!: (value: T) => void
  const promise = new Promise<T>((resolve) => {
    answer = resolve
  })
  return { promise, answer }
}

describe('a connection to libvirt', () => {
  it('gives each call its own reply, in whatever order they come', async () => {
    await using daemon = await new FakeDaemon().listen()
    const first = later<{ state: number; reason: number }>()
    const answers = [() => first.promise, () => ({ state: 5, reason: 2 })]
    daemon.answers = { domainGetState: () => answers.shift()?.() ?? never() }
    const connection = await connected(daemon)

    const slow = connection.call('domainGetState', STATE, LONG)
    const fast = connection.call('domainGetState', STATE, LONG)

    expect(await fast).toEqual({ state: 5, reason: 2 })
    first.answer({ state: 1, reason: 1 })
    expect(await slow).toEqual({ state: 1, reason: 1 })
  })

  it('throws what libvirt refuses, with its numbers', async () => {
    await using daemon = await new FakeDaemon().listen()
    const text = `Domain not found: no domain with matching uuid '${UUID}'`
    daemon.answers = {
      domainGetState: () => {
        throw new Refusal(42, text)
      },
    }
    const connection = await connected(daemon)

    const error = await connection.call('domainGetState', STATE, LONG).catch((thrown: unknown) => thrown)

    expect(error).toBeInstanceOf(LibvirtError)
    expect(error).toMatchObject({
      message: text,
      details: { call: 'domainGetState', libvirt_code: 42, libvirt_domain: 10, libvirt_level: 2 },
    })
  })

  it('stops waiting at the deadline; the late reply is dropped, and the connection works on', async () => {
    await using daemon = await new FakeDaemon().listen()
    const late = later<{ state: number; reason: number }>()
    daemon.answers = { domainGetState: () => late.promise, connectGetHostname: () => ({ hostname: 'here' }) }
    const connection = await connected(daemon)

    const error = await connection.call('domainGetState', STATE, { timeoutMs: 30 }).catch((thrown: unknown) => thrown)
    late.answer({ state: 1, reason: 1 })

    expect(error).toBeInstanceOf(HypervisorTimeout)
    expect(error).toMatchObject({ details: { call: 'domainGetState', timeout_ms: 30 } })
    expect(await connection.call('connectGetHostname', undefined, LONG)).toEqual({ hostname: 'here' })
  })

  it('stops waiting when the caller does', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { domainGetState: never }
    const connection = await connected(daemon)
    const stop = new AbortController()

    const call = connection.call('domainGetState', STATE, { ...LONG, signal: stop.signal })
    stop.abort(new Error('the build was given up'))

    await expect(call).rejects.toThrow('the build was given up')
    await expect(connection.call('domainGetState', STATE, { ...LONG, signal: stop.signal })).rejects.toThrow('given up')
  })

  it('sends no more calls at a time than it may; the others wait here, first come first served', async () => {
    await using daemon = await new FakeDaemon().listen()
    const answers = [later<void>(), later<void>(), later<void>()]
    let asked = 0
    daemon.answers = { domainReset: () => answers[asked++]?.promise ?? never() }
    const connection = await connected(daemon, { maxInFlight: 2 })

    const calls = answers.map(() => connection.call('domainReset', STATE, LONG))

    await vi.waitFor(() => expect(daemon.calls).toHaveLength(2))
    expect(connection.load).toBe(3)
    answers[1]?.answer()
    await calls[1]
    await vi.waitFor(() => expect(daemon.calls).toHaveLength(3))
    answers[0]?.answer()
    answers[2]?.answer()
    await Promise.all(calls)
    expect(connection.load).toBe(0)
  })

  it('never sends what was given up while it waited, and keeps the place of what the daemon is still at', async () => {
    await using daemon = await new FakeDaemon().listen()
    const hanging = later<void>()
    const alive = later<void>()
    daemon.answers = {
      domainReset: () => hanging.promise,
      domainReboot: () => alive.promise,
      connectGetHostname: () => ({ hostname: 'here' }),
    }
    const connection = await connected(daemon, { maxInFlight: 2 })
    const reboot = connection.call('domainReboot', STATE, LONG)

    await expect(connection.call('domainReset', STATE, { timeoutMs: 20 })).rejects.toThrow(HypervisorTimeout)
    await expect(connection.call('domainSuspend', { dom: STATE.dom }, { timeoutMs: 20 })).rejects.toThrow(
      HypervisorTimeout,
    )
    const hostname = connection.call('connectGetHostname', undefined, LONG)
    hanging.answer()

    expect(await hostname).toEqual({ hostname: 'here' })
    expect(daemon.calls).toEqual(['domainReboot', 'domainReset', 'connectGetHostname'])
    alive.answer()
    await reboot
  })

  it('ends when every call that the daemon takes was given up, and it answers none of them for long', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { domainReset: never }
    const connection = await connected(daemon, { maxInFlight: 2, stuckMs: 50 })
    const calls = [20, 20, 60_000].map((timeoutMs) => connection.call('domainReset', STATE, { timeoutMs }))

    const outcomes = await Promise.allSettled(calls)

    expect(outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason)).toEqual([
      expect.any(HypervisorTimeout),
      expect.any(HypervisorTimeout),
      expect.any(NotSent),
    ])
    await expect(connection.call('domainReset', STATE, LONG)).rejects.toThrow(NotSent)
  })

  it('ends all calls when the daemon hangs up, and says that they may have been done', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { domainReset: never }
    const connection = await connected(daemon)
    const call = connection.call('domainReset', STATE, LONG)
    const closed = new Promise((resolve) => connection.onClose(resolve))
    await vi.waitFor(() => expect(daemon.calls).toEqual(['domainReset']))

    daemon.hangUp()

    const error = await call.catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(HypervisorUnavailable)
    expect(error).toMatchObject({
      message: 'domainReset: the connection to libvirt is lost: the daemon hung up',
      details: { call: 'domainReset', fix: expect.stringContaining('may have been done') },
    })
    expect(await closed).toBeInstanceOf(HypervisorUnavailable)
    await expect(connection.call('domainReset', STATE, LONG)).rejects.toThrow('the daemon hung up')
  })

  it('answers pings', async () => {
    await using daemon = await new FakeDaemon().listen()
    await connected(daemon)
    await vi.waitFor(() => expect(daemon.connections.size).toBe(1))

    daemon.ping()

    await vi.waitFor(() => expect(daemon.pongs).toBe(1))
  })

  it('lives as long as its own pings are answered, and ends when they are not', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { domainReset: never }
    const connection = await connected(daemon)
    const ended = new Promise<Error>((resolve) => connection.onClose(resolve))
    const call = connection.call('domainReset', STATE, LONG)
    connection.keepAlive({ intervalMs: 10, count: 2 })
    await expect(connection.call('domainReset', STATE, { timeoutMs: 200 })).rejects.toThrow(HypervisorTimeout)

    daemon.deaf = true

    await expect(call).rejects.toThrow('domainReset: the connection to libvirt is lost: the daemon was silent')
    expect((await ended).message).toContain('the daemon was silent for 3 times 10 ms')
  })

  it('ends at bytes that are no frame, for nothing after them makes sense', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { domainReset: never }
    const connection = await connected(daemon)
    const call = connection.call('domainReset', STATE, LONG)
    await vi.waitFor(() => expect(daemon.calls).toHaveLength(1))

    daemon.say(Buffer.from('HTTP/1.1 400 Bad Request\r\n'))

    const error = await call.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'HYPERVISOR_UNAVAILABLE', cause: expect.any(InvalidLibvirtMessage) })
  })

  it('takes a reply that is not understood for trouble of this call alone', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { connectGetHostname: () => never(), domainGetState: () => ({ state: 1, reason: 1 }) }
    const connection = await connected(daemon)
    const call = connection.call('connectGetHostname', undefined, LONG)
    await vi.waitFor(() => expect(daemon.calls).toHaveLength(1))
    const procedure = PROCEDURES.connectGetHostname.number
    const head = { ...REMOTE, procedure, type: MESSAGE_TYPE.reply, serial: 1, status: STATUS.ok }

    // A text of so many bytes, and there it ends.
    daemon.say(encodeFrame(head, int, 1_000_000))

    await expect(call).rejects.toThrow(InvalidLibvirtMessage)
    expect(await connection.call('domainGetState', STATE, LONG)).toEqual({ state: 1, reason: 1 })
  })

  it('answers, or ends with a typed error, whatever the daemon says', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyReply, { maxLength: 5 }), async (replies) => {
        const socket = new Loopback()
        const connection = new Connection(socket, { maxInFlight: 4, stuckMs: 60_000, onMessage: guestEvent })
        const calls = [
          connection.call('connectGetAllDomainStats', { domains: [], stats: 1, flags: 0 }, LONG),
          connection.call('domainGetState', STATE, LONG),
        ]
        const outcomes = Promise.allSettled(calls)

        for (const reply of replies) socket.push(reply)
        socket.push(null)

        for (const outcome of await outcomes) {
          if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(SevbusError)
        }
      }),
    )
  })
})

/** The daemon's end of the line is the test's hand. */
class Loopback extends Duplex {
  constructor() {
    super({ allowHalfOpen: false })
  }

  override _read() {}

  override _write(_chunk: Buffer, _encoding: string, done: () => void) {
    done()
  }
}

const anyHead = fc.record({
  program: fc.constantFrom(REMOTE.program, REMOTE.program, KEEPALIVE.program, 7),
  version: fc.constant(1),
  procedure: fc.constantFrom(1, 2, 212, 318, 319, 344),
  type: fc.integer({ min: 0, max: 5 }),
  serial: fc.integer({ min: 0, max: 3 }),
  status: fc.integer({ min: 0, max: 2 }),
})
/** A frame with anything in it, or no frame at all. */
const anyReply = fc.oneof(
  fc
    .tuple(anyHead, fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 30 }))
    .map(([head, words]) => encodeFrame(head, list(int, 30), words)),
  fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
)
