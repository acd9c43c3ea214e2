import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Codec,
  characters,
  double,
  flag,
  hyper,
  int,
  list,
  nothing,
  optional,
  struct,
  text,
  uhyper,
  uint,
  uuid,
} from '../../../../src/compute/libvirt/rpc/codec.ts'
import { EVENTS, PROCEDURES } from '../../../../src/compute/libvirt/rpc/procedures.ts'
import { remoteError } from '../../../../src/compute/libvirt/rpc/remote-error.ts'
import { byField, type TypedParam, typedParams } from '../../../../src/compute/libvirt/rpc/typed-param.ts'
import { XdrReader, XdrWriter } from '../../../../src/compute/libvirt/rpc/xdr-bytes.ts'
import { InvalidLibvirtMessage } from '../../../../src/errors.ts'

function write<T>(codec: Codec<T>, value: T): Buffer {
  const writer = new XdrWriter()
  codec.write(writer, value)
  return writer.bytes()
}

function read<T>(codec: Codec<T>, bytes: Buffer): T {
  const reader = new XdrReader(bytes)
  const value = codec.read(reader)
  reader.end()
  return value
}

const hex = (bytes: string) => Buffer.from(bytes.replaceAll(' ', ''), 'hex')

const uuids = fc.uuid()
const texts = fc.string({ unit: 'binary', maxLength: 300 })
const ints = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const uints = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const values: readonly fc.Arbitrary<TypedParam['value']>[] = [
  ints,
  uints,
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.double(),
  fc.boolean(),
  texts,
]
const params: fc.Arbitrary<readonly TypedParam[]> = fc.array(
  fc.oneof(...values.map((value, index) => fc.record({ field: texts, type: fc.constant(index + 1), value }))),
)

describe('XDR', () => {
  it.each<[string, Codec<unknown>, unknown, string]>([
    ['an integer', int as Codec<unknown>, -2, 'fffffffe'],
    ['an unsigned integer', uint as Codec<unknown>, 2 ** 32 - 1, 'ffffffff'],
    ['a hyper', hyper as Codec<unknown>, -2n, 'fffffffffffffffe'],
    ['an unsigned hyper', uhyper as Codec<unknown>, 2n ** 64n - 1n, 'ffffffffffffffff'],
    ['a double', double as Codec<unknown>, -2, 'c000000000000000'],
    ['a truth', flag as Codec<unknown>, true, '00000001'],
    ['nothing', nothing as Codec<unknown>, undefined, ''],
    ['a text, filled up to four bytes', text as Codec<unknown>, 'qemu:', '00000005 71656d753a000000'],
    ['a text of bytes, not of letters', text as Codec<unknown>, 'ß', '00000002 c39f0000'],
    ['an empty text', text as Codec<unknown>, '', '00000000'],
    ['a uuid', uuid as Codec<unknown>, '7d5d3a3e-0c0b-4c2f-9a51-2f6a8f0d1c11', '7d5d3a3e 0c0b4c2f 9a512f6a 8f0d1c11'],
    ['what may be missing, there', optional(int) as Codec<unknown>, 7, '00000001 00000007'],
    ['what may be missing, missing', optional(int) as Codec<unknown>, undefined, '00000000'],
    ['a list', list(int, 2) as Codec<unknown>, [1, 2], '00000002 00000001 00000002'],
    ['a struct', struct({ a: int, b: text }) as Codec<unknown>, { a: 1, b: 'x' }, '00000001 00000001 78000000'],
    ['characters of C', characters(3) as Codec<unknown>, 'ab', '00000061 00000062 00000000'],
  ])('%s stands as RFC 4506 says, and is read back', (_what, codec, value, bytes) => {
    expect(write(codec, value).toString('hex')).toBe(bytes.replaceAll(' ', ''))
    expect(read(codec, hex(bytes))).toEqual(value)
  })

  it('reads a text of C that fills its place', () => {
    expect(read(characters(2), hex('00000061 00000062'))).toBe('ab')
  })

  it('keeps any typed parameters', () => {
    fc.assert(
      fc.property(params, (given) => {
        expect(read(typedParams(1_000), write(typedParams(1_000), given))).toEqual(given)
      }),
    )
  })

  it('keeps any arguments and results, however long', () => {
    const refs = fc.record({ name: texts, uuid: uuids, id: ints })
    const records = fc.array(fc.record({ dom: refs, params }), { maxLength: 50 })
    const { result } = PROCEDURES.connectGetAllDomainStats
    fc.assert(
      fc.property(records, (given) => {
        expect(read(result, write(result, { records: given }))).toEqual({ records: given })
      }),
    )
  })

  it.each<[string, Codec<unknown>, string]>([
    ['a text that would be longer than the message', text as Codec<unknown>, '00000010 61616161'],
    ['a text that would be longer than libvirt allows', text as Codec<unknown>, '00400001'],
    ['a text of four billion bytes', text as Codec<unknown>, 'ffffffff'],
    ['a list that would be longer than the message', list(int, 1_000) as Codec<unknown>, '000003e8 00000001'],
    ['a list that would be longer than libvirt allows', list(int, 1_000) as Codec<unknown>, '000003e9'],
    ['half an integer', int as Codec<unknown>, '0000'],
    ['bytes after the end', int as Codec<unknown>, '00000001 00'],
    ['a typed parameter of no type', typedParams(1) as Codec<unknown>, '00000001 00000000 00000000 00000000'],
    ['a typed parameter of a later type', typedParams(1) as Codec<unknown>, '00000001 00000000 00000008 00000000'],
    ['a typed parameter of a negative type', typedParams(1) as Codec<unknown>, '00000001 00000000 ffffffff 00000000'],
  ])('refuses %s', (_what, codec, bytes) => {
    expect(() => read(codec, hex(bytes))).toThrow(InvalidLibvirtMessage)
  })

  it('reads all of a refusal, with the domain and the network that libvirt once named in it', () => {
    const uuidOf = '7d5d3a3e-0c0b-4c2f-9a51-2f6a8f0d1c11'
    const whole = { dom: { name: 'one', uuid: uuidOf, id: 1 }, net: { name: 'default', uuid: uuidOf }, str1: 'text' }
    const given = {
      code: 42,
      domain: 10,
      message: undefined,
      level: 2,
      str2: undefined,
      str3: undefined,
      int1: -1,
      int2: 2,
    }

    expect(read(remoteError, write(remoteError, { ...given, ...whole }))).toEqual({ ...given, ...whole })
  })

  it('does not send what libvirt would refuse', () => {
    expect(() => write(uuid, 'not-a-uuid')).toThrow('not a uuid: not-a-uuid')
    expect(() => write(list(int, 1), [1, 2])).toThrow('a list of 2: libvirt allows 1')
    expect(() => write(text, 'x'.repeat(4 * 1024 * 1024 + 1))).toThrow(InvalidLibvirtMessage)
    expect(write(text, 'x'.repeat(4 * 1024 * 1024))).toHaveLength(4 * 1024 * 1024 + 4)
  })

  it('has a value or a typed error for any bytes, in the time and the space that they take', () => {
    const codecs: Codec<unknown>[] = [
      remoteError as Codec<unknown>,
      ...Object.values(EVENTS).map(({ message }) => message as Codec<unknown>),
      ...Object.values(PROCEDURES).flatMap(({ args, result }) => [args, result] as Codec<unknown>[]),
    ]
    // Small numbers are what lengths, counts and types are.
    const words = fc.oneof(fc.integer({ min: 0, max: 9 }), uints).map((word) => {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32BE(word)
      return bytes
    })
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 400 }).map(Buffer.from),
      fc.array(words, { maxLength: 100 }).map((all) => Buffer.concat(all)),
    )
    fc.assert(
      fc.property(bytes, fc.constantFrom(...codecs), (given, codec) => {
        try {
          read(codec, given)
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidLibvirtMessage)
        }
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('typed parameters', () => {
  it('are found by their names', () => {
    const given = [
      { field: 'sev-policy', type: 2, value: 51 },
      { field: 'sev-measurement', type: 7, value: 'wr9E' },
    ]

    expect(byField(given)).toEqual({ 'sev-policy': 51, 'sev-measurement': 'wr9E' })
  })
})
