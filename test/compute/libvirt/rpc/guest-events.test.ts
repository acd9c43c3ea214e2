import { describe, expect, it } from 'vitest'
import type { Codec } from '../../../../src/compute/libvirt/rpc/codec.ts'
import { encodeFrame, type Frame, FrameSplitter, MESSAGE_TYPE } from '../../../../src/compute/libvirt/rpc/frame.ts'
import { type GuestEvent, GuestEventStream, guestEvent } from '../../../../src/compute/libvirt/rpc/guest-events.ts'
import { EVENTS, REMOTE } from '../../../../src/compute/libvirt/rpc/procedures.ts'

const UUID = '7d5d3a3e-0c0b-4c2f-9a51-2f6a8f0d1c11'
const DOM = { name: 'one', uuid: UUID, id: 4 }
const REBOOT: GuestEvent = { kind: 'reboot', uuid: UUID, name: 'one' }

function message<T>(procedure: number, codec: Codec<T>, value: T): Frame {
  const frames: Frame[] = []
  const head = { ...REMOTE, procedure, type: MESSAGE_TYPE.message, serial: 0, status: 0 }
  new FrameSplitter().push(encodeFrame(head, codec, value), (frame) => frames.push(frame))
  return frames[0] as Frame
}

describe('a message of libvirt', () => {
  it('tells of the life of a guest', () => {
    const { number, message: codec } = EVENTS.lifecycle

    expect(guestEvent(message(number, codec, { callbackId: 0, dom: DOM, event: 5, detail: 5 }))).toEqual({
      kind: 'lifecycle',
      uuid: UUID,
      name: 'one',
      event: 'stopped',
      detail: 'failed',
    })
  })

  it('tells of a reboot', () => {
    const { number, message: codec } = EVENTS.reboot

    expect(guestEvent(message(number, codec, { callbackId: 1, dom: DOM }))).toEqual(REBOOT)
  })

  it('says nothing to us when it is another', () => {
    const { message: codec } = EVENTS.reboot

    expect(guestEvent(message(320, codec, { callbackId: 1, dom: DOM }))).toBeUndefined()
  })

  it('asks to look at the guests when it is not understood', () => {
    const { message: codec } = EVENTS.reboot
    const half = message(EVENTS.lifecycle.number, codec, { callbackId: 0, dom: DOM })

    expect(guestEvent(half)).toEqual({ kind: 'resync', why: expect.stringContaining('an event is not understood') })
  })
})

describe('a stream of events', () => {
  it('keeps what is not fetched yet, in order, and ends', async () => {
    const ended: string[] = []
    const stream = new GuestEventStream(() => ended.push('ended'))
    const resync: GuestEvent = { kind: 'resync', why: 'the connection is new' }
    stream.push(resync)
    stream.push(REBOOT)

    expect(await stream.next()).toEqual({ done: false, value: resync })
    expect(await stream.next()).toEqual({ done: false, value: REBOOT })
    const waiting = stream.next()
    stream.push(REBOOT)
    expect(await waiting).toEqual({ done: false, value: REBOOT })
    const last = stream.next()
    stream.end()
    expect(await last).toEqual({ done: true, value: undefined })
    expect(ended).toEqual(['ended'])
  })

  it('holds a thousand events for one who does not listen; then he has to look for himself', async () => {
    const stream = new GuestEventStream(() => {})

    for (let n = 0; n < 1_001; n++) stream.push(REBOOT)
    stream.push(REBOOT)

    expect((await stream.next()).value).toEqual({ kind: 'resync', why: '1000 events were not fetched' })
    expect((await stream.next()).value).toEqual(REBOOT)
  })

  it('ends for a listener who leaves his loop', async () => {
    const ended: string[] = []
    const stream = new GuestEventStream(() => ended.push('ended'))
    stream.push(REBOOT)

    for await (const event of stream) {
      expect(event).toEqual(REBOOT)
      break
    }

    expect(ended).toEqual(['ended'])
    expect(await stream.return()).toEqual({ done: true, value: undefined })
    expect(await stream.next()).toEqual({ done: true, value: undefined })
  })
})
