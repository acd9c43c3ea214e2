import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A way to a server that can be cut: what a broker's restart or a pulled cable looks like from here. */
export class TcpProxy implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #refusing = false
  #silent = false
  /** Made anew for each connection. */
  #filter: () => (bytes: Buffer) => Buffer = () => (bytes) => bytes

  private constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server
    server.on('connection', (near) => {
      if (this.#refusing) return void near.destroy()
      const far = connect(target)
      const filtered = this.#filter()
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket)
        socket.setNoDelay(true)
        socket.on('data', (bytes) => {
          if (socket === near) other.write(bytes)
          else if (!this.#silent) other.write(filtered(bytes))
        })
        socket.on('error', () => {})
        socket.on('close', () => {
          this.#sockets.delete(socket)
          other.destroy()
        })
      }
    })
  }

  static async to(url: string): Promise<TcpProxy> {
    const { hostname, port } = new URL(url)
    const server = createServer()
    const proxy = new TcpProxy(server, { host: hostname, port: Number(port) || 5672 })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return proxy
  }

  /** The URL, led through here. */
  through(url: string): string {
    const led = new URL(url)
    led.hostname = '127.0.0.1'
    led.port = String((this.#server.address() as AddressInfo).port)
    return led.href
  }

  /** Breaks every connection; new ones are made as ever. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  /** Breaks every connection, and every new one until `restore`. */
  goDown(): void {
    this.#refusing = true
    this.cut()
  }

  /** What the server says from now on is lost; what it is told arrives. */
  silence(): void {
    this.#silent = true
  }

  /** What the server says on connections made from now on passes through this. */
  filter(filter: () => (bytes: Buffer) => Buffer): void {
    this.#filter = filter
  }

  restore(): void {
    this.#refusing = false
    this.#silent = false
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.goDown()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
