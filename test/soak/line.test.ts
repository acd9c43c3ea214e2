import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished, vi } from 'vitest'
import { Line } from './line.ts'

/** Both ends of a connection through a line. */
async function openLine() {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const line = await Line.to(() => `amqp://127.0.0.1:${port}`)
  onTestFinished(async () => {
    await line[Symbol.asyncDispose]()
    server.close()
  })
  const open = async () => {
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const near = connect(Number(new URL(line.through('amqp://localhost')).port), '127.0.0.1')
    const [far] = await accepted
    for (const socket of [near, far]) socket.on('error', () => {})
    return { near: new End(near), far: new End(far) }
  }
  return { line, open, ...(await open()) }
}

class End {
  readonly socket: Socket
  received = ''
  isClosed = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      this.received += text
    })
    socket.on('close', () => {
      this.isClosed = true
    })
  }
}

it('passes everything in order, however it changes meanwhile', async () => {
  const { line, near, far } = await openLine()
  const sent = Array.from({ length: 2_000 }, (_, index) => `${index};`)
  const changes = [() => line.slow(), () => line.recover(), () => line.stall(), () => line.recover()]

  for (const [index, text] of sent.entries()) {
    near.socket.write(text)
    far.socket.write(text)
    if (index % 100 === 0) changes[(index / 100) % changes.length]?.()
    if (index % 10 === 0) await sleep(3)
  }
  line.recover()

  await vi.waitFor(() => expect([far.received, near.received]).toEqual([sent.join(''), sent.join('')]), 5_000)
})

it('passes nothing while it is stalled, and everything afterwards, on new connections too', async () => {
  const { line, open, near, far } = await openLine()
  line.stall()
  const another = await open()

  near.socket.write('a')
  another.near.socket.write('b')
  await sleep(100)
  const meanwhile = [far.received, another.far.received]
  line.recover()

  await vi.waitFor(() => expect([far.received, another.far.received]).toEqual(['a', 'b']))
  expect(meanwhile).toEqual(['', ''])
})

it('closes both ends when it is reset', async () => {
  const { line, near, far } = await openLine()

  line.reset()

  await vi.waitFor(() => expect([near.isClosed, far.isClosed]).toEqual([true, true]))
})

it.each(['process', 'broker'] as const)(
  'leaves the connection open at the %s only, which hears nothing',
  async (left) => {
    const { line, open, near, far } = await openLine()
    const [kept, gone] = left === 'process' ? [near, far] : [far, near]

    line.halfOpen(left)

    await vi.waitFor(() => expect(gone.isClosed).toBe(true))
    kept.socket.write('is anybody there?')
    const another = await open()
    another.near.socket.write('hello')
    await vi.waitFor(() => expect(another.far.received).toBe('hello'))
    expect([kept.isClosed, kept.received]).toEqual([false, ''])
    kept.socket.destroy()
  },
)
