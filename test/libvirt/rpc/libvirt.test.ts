import { afterEach, describe, expect, it, vi } from 'vitest'
import { Libvirt } from '../../../src/compute/libvirt/rpc/libvirt.ts'
import type { LibvirtOptions } from '../../../src/compute/libvirt/rpc/libvirt-connections.ts'
import { HypervisorTimeout, HypervisorUnavailable, type SevbusError } from '../../../src/errors.ts'
import { FakeDaemon } from './fake-daemon.ts'

const UUID = '7d5d3a3e-0c0b-4c2f-9a51-2f6a8f0d1c11'
const RUNNING = { domainGetState: () => ({ state: 1, reason: 1 }) }

const open: Libvirt[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((libvirt) => libvirt.close()))
})

function libvirtAt(daemon: FakeDaemon, options: Partial<LibvirtOptions> = {}) {
  const troubles: SevbusError[] = []
  const libvirt = new Libvirt({ uri: daemon.uri, onTrouble: (trouble) => troubles.push(trouble), ...options })
  open.push(libvirt)
  return { libvirt, troubles }
}

async function untilTheEnd(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of events);
}

function never<T>(): Promise<T> {
  return new Promise(() => {})
}

describe('libvirt', () => {
  it('connects by itself: the first call waits for it', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = RUNNING
    const { libvirt } = libvirtAt(daemon)

    expect(await libvirt.domainGetState(UUID)).toEqual({ state: 'running', reason: 'booted' })
  })

  it('answers questions and stops guests while every connection for changes is taken', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { ...RUNNING, domainCreateWithFlags: never, domainDestroyFlags: () => {} }
    const { libvirt } = libvirtAt(daemon, { controlConnections: 2 })
    const starts = Array.from({ length: 20 }, () => libvirt.domainCreateWithFlags(UUID).catch(() => {}))
    await vi.waitFor(() => expect(daemon.calls.filter((name) => name === 'domainCreateWithFlags')).toHaveLength(8))

    expect(await libvirt.domainGetState(UUID)).toEqual({ state: 'running', reason: 'booted' })
    await libvirt.domainDestroyFlags(UUID)
    expect(daemon.connections.size).toBe(4)
    await libvirt.close()
    await Promise.all(starts)
  })

  it('stops guests over all connections for changes when they have room', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { ...RUNNING, domainDestroyFlags: never, connectClose: () => {} }
    const { libvirt } = libvirtAt(daemon, { controlConnections: 2 })
    const stops: Promise<void>[] = []
    const oneMore = () => {
      stops.push(libvirt.domainDestroyFlags(UUID).catch(() => {}))
      expect(daemon.calls.filter((name) => name === 'domainDestroyFlags')).toHaveLength(12)
    }

    await vi.waitFor(oneMore, { timeout: 10_000, interval: 5 })

    expect(await libvirt.domainGetState(UUID)).toMatchObject({ state: 'running' })
    await libvirt.close()
    await Promise.all(stops)
  })

  it('fails at once, with all that was tried, when nobody listens', async () => {
    const daemon = new FakeDaemon()
    const { libvirt, troubles } = libvirtAt(daemon)

    const error = await libvirt.domainGetState(UUID).catch((thrown: unknown) => thrown)

    expect(error).toBeInstanceOf(HypervisorUnavailable)
    expect(error).toMatchObject({ message: expect.stringContaining(`${daemon.path}: connect ENOENT`) })
    // Once for all connections, however often it is tried.
    await vi.waitFor(() => expect(troubles).toHaveLength(1))
  })

  it('is there again after a restart of the daemon: a call in between waits for it', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = RUNNING
    const { libvirt, troubles } = libvirtAt(daemon)
    await libvirt.domainGetState(UUID)

    await daemon.stop()
    await vi.waitFor(() => expect(troubles.length).toBeGreaterThan(0))
    const call = libvirt.domainGetState(UUID)
    await daemon.listen()

    expect(await call).toEqual({ state: 'running', reason: 'booted' })
  })

  it('loses its patience when the daemon stays away, and finds it when it comes back', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = RUNNING
    const { libvirt } = libvirtAt(daemon, { patienceMs: 50 })
    await libvirt.domainGetState(UUID)

    await daemon.stop()
    await vi.waitFor(() => expect(libvirt.domainGetState(UUID)).rejects.toThrow('cannot be reached'))
    await daemon.listen()

    const found = () => expect(libvirt.domainGetState(UUID)).resolves.toEqual({ state: 'running', reason: 'booted' })
    await vi.waitFor(found, 10_000)
  })

  it('sends what was not sent yet over the next connection; what was on its way fails', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { domainCreateWithFlags: never }
    const { libvirt } = libvirtAt(daemon, { controlConnections: 1 })
    const starts = Array.from({ length: 7 }, () => libvirt.domainCreateWithFlags(UUID))
    const outcomes = Promise.allSettled(starts)
    await vi.waitFor(() => expect(daemon.calls.filter((name) => name === 'domainCreateWithFlags')).toHaveLength(4))

    daemon.answers = { domainCreateWithFlags: ({ dom }) => ({ dom }) }
    daemon.hangUp()

    const sent = 'domainCreateWithFlags: the connection to libvirt is lost: the daemon hung up'
    expect((await outcomes).map((each) => (each.status === 'rejected' ? each.reason.message : 'done'))).toEqual([
      ...Array.from({ length: 4 }, () => sent),
      ...Array.from({ length: 3 }, () => 'done'),
    ])
  })

  it('says goodbye, so that the daemon logs no error', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { ...RUNNING, connectClose: () => {} }
    const { libvirt } = libvirtAt(daemon)
    await libvirt.domainGetState(UUID)
    await vi.waitFor(() => expect(daemon.calls.filter((name) => name === 'connectOpen')).toHaveLength(4))

    await libvirt.close()

    expect(daemon.calls.filter((name) => name === 'connectClose')).toHaveLength(4)
  })

  it('gives up waiting for a connection at the deadline of the call', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { connectOpen: never }
    const { libvirt } = libvirtAt(daemon)

    await expect(libvirt.domainGetState(UUID, { timeoutMs: 20 })).rejects.toThrow(
      'no connection to libvirt within 20 ms',
    )
  })

  it('does not wait for ever for a daemon that takes connections and says nothing', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.deaf = true
    const { libvirt } = libvirtAt(daemon, { connectTimeoutMs: 30 })

    await expect(libvirt.domainGetState(UUID)).rejects.toThrow('libvirt did not answer for qemu:///system within 30 ms')
  })

  it('says what to change when the daemon wants a login', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { authList: () => ({ types: [1] }) }
    const { libvirt } = libvirtAt(daemon)

    await expect(libvirt.domainGetState(UUID)).rejects.toThrow(
      'a login of type 1, which is not spoken here; take the unix socket',
    )
  })

  it('lets polkit decide where the daemon asks it', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { ...RUNNING, authList: () => ({ types: [2] }), authPolkit: () => ({ complete: true }) }
    const { libvirt } = libvirtAt(daemon)

    await libvirt.domainGetState(UUID)

    expect(daemon.calls).toContain('authPolkit')
  })

  it('reconnects when a daemon hangs, for it hears no answer to its pings', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = RUNNING
    const { libvirt, troubles } = libvirtAt(daemon, { keepalive: { intervalMs: 20, count: 2 } })
    await libvirt.domainGetState(UUID)

    daemon.deaf = true
    const call = libvirt.domainGetState(UUID)
    await expect(call).rejects.toThrow('the daemon was silent for 3 times 20 ms')
    daemon.deaf = false

    expect(troubles[0]?.message).toContain('the daemon was silent')
    await vi.waitFor(() => expect(libvirt.domainGetState(UUID)).resolves.toMatchObject({ state: 'running' }))
  })

  it('sends no pings to a daemon that does not know them', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { ...RUNNING, connectSupportsFeature: () => ({ supported: false }) }
    const { libvirt } = libvirtAt(daemon, { keepalive: { intervalMs: 5, count: 1 } })
    await libvirt.domainGetState(UUID)

    daemon.deaf = true

    await expect(libvirt.domainGetState(UUID, { timeoutMs: 100 })).rejects.toThrow(HypervisorTimeout)
  })

  it('fails all calls once it is closed, and closes the streams of events', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { domainCreateWithFlags: never }
    const { libvirt } = libvirtAt(daemon)
    const start = libvirt.domainCreateWithFlags(UUID)
    const ended = untilTheEnd(libvirt.events())
    await vi.waitFor(() => expect(daemon.calls).toContain('domainCreateWithFlags'))

    const closed = libvirt.close()

    await expect(start).rejects.toThrow('was closed here')
    await closed
    await ended
    await untilTheEnd(libvirt.events())
    await expect(libvirt.domainGetState(UUID)).rejects.toThrow('was closed here')
    await vi.waitFor(() => expect(daemon.connections.size).toBe(0))
  })
})

describe('events of guests', () => {
  it('come in order, after a word that the listener has to look for himself', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = RUNNING
    const { libvirt } = libvirtAt(daemon)
    const events = libvirt.events()

    expect((await events.next()).value).toEqual({ kind: 'resync', why: 'the connection is new' })
    daemon.lifecycle(UUID, 2, 0)
    daemon.lifecycle(UUID, 5, 5)

    const guest = { kind: 'lifecycle', uuid: UUID, name: 'a guest' }
    expect((await events.next()).value).toEqual({ ...guest, event: 'started', detail: 'booted' })
    expect((await events.next()).value).toEqual({ ...guest, event: 'stopped', detail: 'failed' })
  })

  it('ask to look again after a loss, when the daemon tells of changes already', async () => {
    await using daemon = await new FakeDaemon().listen()
    const { libvirt } = libvirtAt(daemon)
    const events = libvirt.events()
    await events.next()

    daemon.hangUp()

    expect((await events.next()).value).toEqual({ kind: 'resync', why: 'the connection is new' })
    daemon.lifecycle(UUID, 1, 0)
    expect((await events.next()).value).toMatchObject({ event: 'undefined', detail: 'removed' })
  })

  it('ask to look when that can be done: calls go over the new connection already', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = RUNNING
    const { libvirt } = libvirtAt(daemon, { patienceMs: 0 })
    const events = libvirt.events()
    await events.next()
    await daemon.stop()
    await vi.waitFor(() => expect(libvirt.domainGetState(UUID)).rejects.toThrow('cannot be reached'))

    await daemon.listen()

    expect((await events.next()).value).toMatchObject({ kind: 'resync' })
    expect(await libvirt.domainGetState(UUID)).toMatchObject({ state: 'running' })
  })

  it('ask a listener who comes later to look first', async () => {
    await using daemon = await new FakeDaemon().listen()
    const { libvirt } = libvirtAt(daemon)
    await libvirt.events().next()

    const late = libvirt.events()

    expect((await late.next()).value).toEqual({ kind: 'resync', why: 'the listener is new' })
  })

  it('are no longer kept for a listener who has left', async () => {
    await using daemon = await new FakeDaemon().listen()
    const { libvirt } = libvirtAt(daemon)
    const events = libvirt.events()

    for await (const event of events) {
      expect(event.kind).toBe('resync')
      break
    }

    expect(await events.next()).toEqual({ done: true, value: undefined })
  })
})
