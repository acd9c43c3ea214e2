import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nothing, text } from '../../../../src/compute/libvirt/rpc/codec.ts'
import {
  decodePayload,
  encodeFrame,
  type Frame,
  FrameSplitter,
  MESSAGE_TYPE,
  STATUS,
} from '../../../../src/compute/libvirt/rpc/frame.ts'
import { PROCEDURES, REMOTE } from '../../../../src/compute/libvirt/rpc/procedures.ts'
import { InvalidLibvirtMessage } from '../../../../src/errors.ts'

const HEAD = { ...REMOTE, procedure: 59, type: MESSAGE_TYPE.reply, serial: 7, status: STATUS.ok }

/** All frames of a stream that comes in these chunks. */
function split(chunks: readonly Buffer[]): readonly Frame[] {
  const splitter = new FrameSplitter()
  const frames: Frame[] = []
  for (const chunk of chunks) splitter.push(chunk, (frame) => frames.push(frame))
  return frames
}

/** Cuts bytes at these places. */
function cut(bytes: Buffer, places: readonly number[]): readonly Buffer[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
}

describe('a frame', () => {
  it('is length, header and payload', () => {
    const { number: procedure, args } = PROCEDURES.connectOpen
    const head = { ...REMOTE, procedure, type: MESSAGE_TYPE.call, serial: 3, status: STATUS.ok }

    const bytes = encodeFrame(head, args, { name: 'qemu:///system', flags: 0 })

    const words = [
      '00000038 20008086 00000001 00000001 00000000 00000003 00000000',
      '00000001 0000000e 71656d75 3a2f2f2f 73797374 656d0000 00000000',
    ]
    expect(bytes.toString('hex')).toBe(words.join('').replaceAll(' ', ''))
  })

  it('comes out whole, however the stream is chopped up', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 200 }), { maxLength: 8 }), fc.array(fc.nat()), (texts, places) => {
        const stream = Buffer.concat(texts.map((each, serial) => encodeFrame({ ...HEAD, serial }, text, each)))

        const frames = split(cut(stream, places))

        expect(frames.map((frame) => decodePayload(frame, text))).toEqual(texts)
        expect(frames.map(({ payload: _, ...head }) => head)).toEqual(texts.map((_, serial) => ({ ...HEAD, serial })))
      }),
    )
  })

  it.each([
    ['shorter than its header', 27],
    ['of no length', 0],
    ['longer than libvirt sends', 32 * 1024 * 1024 + 5],
    ['of four gigabytes', 0xffffffff],
  ])('%s is refused before it has come', (_what, length) => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(length)

    expect(() => split([bytes])).toThrow(
      expect.objectContaining({
        code: 'INVALID_LIBVIRT_MESSAGE',
        details: { length, shortest: 28, longest: 32 * 1024 * 1024 + 4 },
      }),
    )
  })

  it('may be as short as its header and as long as libvirt sends', () => {
    const longest = Buffer.alloc(4)
    longest.writeUInt32BE(32 * 1024 * 1024 + 4)

    expect(split([encodeFrame(HEAD, nothing, undefined)])).toHaveLength(1)
    expect(split([longest])).toEqual([])
  })

  it('comes before the nonsense that follows it', () => {
    const frames: Frame[] = []
    const stream = Buffer.concat([encodeFrame(HEAD, nothing, undefined), Buffer.from('nonsense')])

    expect(() => new FrameSplitter().push(stream, (frame) => frames.push(frame))).toThrow(InvalidLibvirtMessage)
    expect(frames).toHaveLength(1)
  })

  it('is a typed error or nothing for any bytes, in any chunks', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat()), (bytes, places) => {
        try {
          split(cut(Buffer.from(bytes), places))
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidLibvirtMessage)
        }
      }),
    )
  })
})
