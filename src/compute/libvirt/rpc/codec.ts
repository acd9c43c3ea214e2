import { InvalidLibvirtMessage } from '../../../errors.ts'
import type { XdrReader, XdrWriter } from './xdr-bytes.ts'

/** How a value of one type stands on the wire. */
export interface Codec<T> {
  write(writer: XdrWriter, value: T): void
  /** @throws InvalidLibvirtMessage */
  read(reader: XdrReader): T
}

/** REMOTE_STRING_MAX; VIR_NET_MESSAGE_STRING_MAX is the same. */
const LONGEST_TEXT = 4 * 1024 * 1024

export const int: Codec<number> = { write: (w, value) => w.int(value), read: (r) => r.int() }
export const uint: Codec<number> = { write: (w, value) => w.uint(value), read: (r) => r.uint() }
export const hyper: Codec<bigint> = { write: (w, value) => w.hyper(value), read: (r) => r.hyper() }
export const uhyper: Codec<bigint> = { write: (w, value) => w.uhyper(value), read: (r) => r.uhyper() }
export const double: Codec<number> = { write: (w, value) => w.double(value), read: (r) => r.double() }

/** C's truth: what is not zero. */
export const flag: Codec<boolean> = { write: (w, value) => w.int(value ? 1 : 0), read: (r) => r.int() !== 0 }

export const nothing: Codec<void> = { write() {}, read() {} }

export const text: Codec<string> = {
  write(writer, value) {
    const bytes = Buffer.from(value)
    writer.uint(checked(bytes.length, LONGEST_TEXT, 'a text'))
    writer.opaque(bytes)
  },
  read(reader) {
    return reader.opaque(checked(reader.uint(), LONGEST_TEXT, 'a text')).toString()
  },
}

/** `opaque<most>`: bytes that only libvirt understands. */
export function bytes(most: number): Codec<Buffer> {
  return {
    write(writer, value) {
      writer.uint(checked(value.length, most, 'opaque data'))
      writer.opaque(value)
    },
    read(reader) {
      return reader.opaque(checked(reader.uint(), most, 'opaque data'))
    },
  }
}

const UUID_BYTES = 16

/** Sixteen bytes on the wire, the usual spelling in here. */
export const uuid: Codec<string> = {
  write(writer, value) {
    const bytes = Buffer.from(value.replaceAll('-', ''), 'hex')
    if (bytes.length !== UUID_BYTES) throw new InvalidLibvirtMessage(`not a uuid: ${value}`, { uuid: value })
    writer.opaque(bytes)
  },
  read(reader) {
    return reader
      .opaque(UUID_BYTES)
      .toString('hex')
      .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  },
}

/** `char name[length]` of C: XDR gives each character a unit of its own, and the text ends at the first zero. */
export function characters(length: number): Codec<string> {
  return {
    write(writer, value) {
      const bytes = Buffer.alloc(length)
      bytes.write(value, 0, length - 1)
      for (const byte of bytes) writer.int(byte)
    },
    read(reader) {
      const bytes = Buffer.from(Array.from({ length }, () => reader.int() & 0xff))
      const end = bytes.indexOf(0)
      return bytes.toString('utf8', 0, end < 0 ? length : end)
    },
  }
}

export function optional<T>(codec: Codec<T>): Codec<T | undefined> {
  return {
    write(writer, value) {
      flag.write(writer, value !== undefined)
      if (value !== undefined) codec.write(writer, value)
    },
    read(reader) {
      return flag.read(reader) ? codec.read(reader) : undefined
    },
  }
}

/** @param most as libvirt's own limit for this list */
export function list<T>(codec: Codec<T>, most: number): Codec<readonly T[]> {
  return {
    write(writer, values) {
      writer.uint(checked(values.length, most, 'a list'))
      for (const value of values) codec.write(writer, value)
    },
    read(reader) {
      const count = checked(reader.uint(), most, 'a list')
      const values: T[] = []
      // Grows as elements are found: a count is only a promise.
      for (let i = 0; i < count; i++) values.push(codec.read(reader))
      return values
    },
  }
}

/** Fields in the order in which they are written down. */
export function struct<T extends object>(fields: { readonly [K in keyof T]: Codec<T[K]> }): Codec<Readonly<T>> {
  const entries = Object.entries(fields) as [keyof T, Codec<T[keyof T]>][]
  return {
    write(writer, value) {
      for (const [name, codec] of entries) codec.write(writer, value[name])
    },
    read(reader) {
      const value: Partial<T> = {}
      for (const [name, codec] of entries) value[name] = codec.read(reader)
      return value as T
    },
  }
}

function checked(length: number, most: number, what: string): number {
  if (length <= most) return length
  throw new InvalidLibvirtMessage(`${what} of ${length}: libvirt allows ${most}`, { length, most })
}
