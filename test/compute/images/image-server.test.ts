import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ImageServer } from '../../../src/compute/images/image-server.ts'
import { diskToolsFor } from '../support/disk-tools.ts'
import { anImage, anImageHost, someBytes } from './support/image-host.ts'

const never = new AbortController().signal
const MIB = 1024 ** 2
const toolPath = await diskToolsFor('images from a web server')

async function aServer(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/images/{id}/file`
}

describe.runIf(toolPath)('images from a web server', () => {
  const host = async (listener: RequestListener, options = {}) =>
    anImageHost({ toolPath: toolPath as string, sources: [new ImageServer(await aServer(listener))], ...options })

  it('are asked for by their ids, and taken as they are', async () => {
    const asked: unknown[] = []
    const content = someBytes(3 * MIB)
    const { cache } = await host((request, response) => {
      asked.push([request.method, request.url, request.headers['accept-encoding']])
      response.end(content)
    })
    const image = anImage({ size: content.length })

    using base = await cache.hold(image, never)

    expect(base.bytes).toBe(content.length)
    expect(asked).toEqual([['GET', `/images/${image.id}/file`, 'identity']])
  })

  it.each([
    ['IMAGE_NOT_FOUND', 404, {}],
    ['IMAGE_NOT_FOUND', 410, {}],
    ['IMAGE_DOWNLOAD_FAILED', 401, {}],
    ['IMAGE_DOWNLOAD_FAILED', 500, {}],
    ['IMAGE_DOWNLOAD_FAILED', 206, {}],
    // To where only the host may look.
    ['IMAGE_DOWNLOAD_FAILED', 302, { location: 'http://169.254.169.254/latest/meta-data/' }],
    ['IMAGE_DOWNLOAD_FAILED', 301, { location: 'file:///etc/passwd' }],
  ])('are %s when it answers with %i', async (code, status, headers) => {
    const { cache, left } = await host((_, response) => response.writeHead(status, headers).end('nothing'))

    await expect(cache.hold(anImage(), never)).rejects.toMatchObject({ code, details: { fix: expect.any(String) } })

    expect(await left()).toEqual([])
  })

  it.each<[string, RequestListener]>([
    [
      'in the middle',
      (_, response) => void response.writeHead(200, { 'content-length': 2 * MIB }).write(someBytes(MIB)),
    ],
    ['from the beginning', () => {}],
  ])('are given up when it hangs %s', async (_, listener) => {
    const { cache, left } = await host(listener, { silenceMs: 100 })

    await expect(cache.hold(anImage(), never)).rejects.toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      details: { reason: 'nothing came for 0.1 s' },
    })

    expect(await left()).toEqual([])
  })

  it('are given up when it breaks off, sends less than the image has, or more', async () => {
    const content = someBytes(MIB)
    const promising = { 'content-length': 2 * MIB }
    const cases: readonly (readonly [RequestListener, string, object])[] = [
      [
        (_, response) => void response.writeHead(200, promising).write(content, () => response.destroy()),
        'IMAGE_DOWNLOAD_FAILED',
        {},
      ],
      [(_, response) => void response.end(content), 'IMAGE_CORRUPT', { size: MIB + 1 }],
      [(_, response) => endless(response), 'IMAGE_CORRUPT', { size: 4 * MIB }],
      [(_, response) => endless(response), 'IMAGE_UNACCEPTABLE', {}],
    ]
    for (const [listener, code, changes] of cases) {
      const { cache, left } = await host(listener, { maxImageBytes: 8 * MIB })

      await expect(cache.hold(anImage(changes), never)).rejects.toMatchObject({ code })

      expect(await left()).toEqual([])
    }
  })

  it('are not there when nothing listens, and the reason is told', async () => {
    const server = new ImageServer('http://127.0.0.1:1/{id}')
    const { cache } = await anImageHost({ toolPath: toolPath as string, sources: [server] })

    await expect(cache.hold(anImage(), never)).rejects.toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      retryable: true,
      message: expect.stringMatching(/the image server 127\.0\.0\.1:1 .*(bad port|ECONNREFUSED)/),
    })
  })
})

function endless(response: { write(chunk: Buffer, then: (error?: Error | null) => void): unknown }): void {
  response.write(someBytes(MIB), (error) => {
    if (!error) endless(response)
  })
}
