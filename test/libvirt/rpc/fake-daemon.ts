import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { type Codec, nothing } from '../../../src/compute/libvirt/rpc/codec.ts'
import {
  decodePayload,
  encodeFrame,
  type Frame,
  FrameSplitter,
  MESSAGE_TYPE,
  STATUS,
} from '../../../src/compute/libvirt/rpc/frame.ts'
import { KEEPALIVE } from '../../../src/compute/libvirt/rpc/keepalive.ts'
import {
  type Args,
  EVENTS,
  PROCEDURES,
  type Procedure,
  type ProcedureName,
  REMOTE,
  type Result,
} from '../../../src/compute/libvirt/rpc/procedures.ts'
import { remoteError } from '../../../src/compute/libvirt/rpc/remote-error.ts'

/** What a daemon answers; a promise that never ends is a call that hangs. */
type Answers = { [N in ProcedureName]?: (args: Args<N>) => Result<N> | Promise<Result<N>> }

/** Thrown by an answer: libvirt refuses. */
export class Refusal extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const GREETINGS: Answers = {
  authList: () => ({ types: [0] }),
  connectSupportsFeature: () => ({ supported: true }),
  connectOpen: () => {},
  connectDomainEventCallbackRegisterAny: ({ eventId }) => ({ callbackId: eventId }),
}

/**
 * Speaks libvirt's protocol from the other side, by the same codecs, and misbehaves as it is told. What the real one says is
 * for the tests beside it.
 */
export class FakeDaemon implements AsyncDisposable {
  readonly path = join(tmpdir(), `sevbus-fake-libvirt-${randomBytes(6).toString('hex')}.sock`)
  /** All calls so far, by name. */
  readonly calls: ProcedureName[] = []
  readonly connections = new Set<Duplex>()
  answers: Answers = {}
  pongs = 0
  /** Reads nothing any more, pings neither: as a daemon that was stopped. */
  deaf = false
  #server: Server | undefined

  get uri(): string {
    return `qemu+unix:///system?socket=${this.path}`
  }

  async listen(): Promise<this> {
    this.#server = createServer((socket: Socket) => this.serve(socket)).listen(this.path)
    await once(this.#server, 'listening')
    return this
  }

  /** A connection, however it was made. */
  serve(socket: Duplex): void {
    const splitter = new FrameSplitter()
    this.connections.add(socket)
    socket.on('data', (chunk: Buffer) => {
      if (!this.deaf) splitter.push(chunk, (frame) => void this.#onFrame(socket, frame))
    })
    socket.on('error', () => {})
    socket.on('close', () => this.connections.delete(socket))
  }

  /** Says it to everybody who is connected. */
  say(bytes: Buffer): void {
    for (const socket of this.connections) socket.write(bytes)
  }

  ping(): void {
    this.say(keepalive(KEEPALIVE.ping))
  }

  lifecycle(uuid: string, event: number, detail: number): void {
    const { number: procedure, message } = EVENTS.lifecycle
    const value = { callbackId: 0, dom: { name: 'a guest', uuid, id: 1 }, event, detail }
    this.say(encodeFrame({ ...REMOTE, procedure, type: MESSAGE_TYPE.message, serial: 0, status: 0 }, message, value))
  }

  /** As a crash. */
  hangUp(): void {
    for (const socket of this.connections) socket.destroy()
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = once(server, 'close')
    server.close()
    this.hangUp()
    await closed
    await rm(this.path, { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #onFrame(socket: Duplex, frame: Frame): Promise<void> {
    if (frame.program === KEEPALIVE.program) {
      if (frame.procedure === KEEPALIVE.ping) socket.write(keepalive(KEEPALIVE.pong))
      else this.pongs++
      return
    }
    const name = nameOf(frame.procedure)
    const { args, result } = PROCEDURES[name] as unknown as Procedure<unknown, unknown>
    this.calls.push(name)
    const answer = (this.answers[name] ?? GREETINGS[name]) as ((args: unknown) => unknown) | undefined
    const reply = <T>(status: number, codec: Codec<T>, value: T) =>
      socket.write(encodeFrame({ ...frame, type: MESSAGE_TYPE.reply, status }, codec, value))
    try {
      if (answer === undefined) throw new Refusal(3, `this function is not supported: ${name}`)
      const value = await answer(decodePayload(frame, args))
      reply(STATUS.ok, result, value)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      reply(STATUS.error, remoteError, { code: error.code, domain: 10, message: error.message, level: 2, ...UNUSED })
    }
  }
}

const UNUSED = {
  dom: undefined,
  str1: undefined,
  str2: undefined,
  str3: undefined,
  int1: 0,
  int2: 0,
  net: undefined,
}

function nameOf(number: number): ProcedureName {
  const found = Object.entries(PROCEDURES).find(([, procedure]) => procedure.number === number)
  if (found === undefined) throw new Error(`the client called procedure ${number}`)
  return found[0] as ProcedureName
}

function keepalive(procedure: number): Buffer {
  const { program, version } = KEEPALIVE
  return encodeFrame(
    { program, version, procedure, type: MESSAGE_TYPE.message, serial: 0, status: 0 },
    nothing,
    undefined,
  )
}
