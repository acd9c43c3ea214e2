import { spawn } from 'node:child_process'
import { json } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseTransportUrl } from '../../src/rpc/drivers/transport-url.ts'
import { DISTRIBUTION_PYTHON, PYTHON_FLAGS } from '../servers/oslo-peers.ts'
import { canRunPeers } from './python-peer.ts'

interface OsloUrl {
  readonly vhost: string | null
  readonly hosts: readonly (readonly [hostname: string | null, port: number | null, ...login: (string | null)[]])[]
}

/** What a URL is made of that both must read alike; our ways with slashes and IPv6 are not oslo.messaging's. */
const credential = fc
  .stringMatching(/^[a-z0-9%!$&'()*+;=~._-]{0,6}$/)
  // Bytes that are no UTF-8, and NUL, are refused here.
  .filter((text) => !/%(?:[89a-f][0-9a-f]|00)/i.test(text))
const host = fc
  .record({
    login: fc.option(fc.tuple(credential, credential)),
    hostname: fc.constantFrom('h1', 'localhost', '10.0.0.1', 'a-b.c_d', ''),
    port: fc.constantFrom('', ':5672', ':1'),
  })
  .map(({ login, hostname, port }) => `${login === null ? '' : `${login.join(':')}@`}${hostname}${port}`)
const vhost = fc.constantFrom('', '/', '//', '/v', '/a/b', '/a%2Fb', '//a', '/%2F', '/v%20w', '/v+w', '/v;w', '/5%')
const url = fc
  .tuple(fc.constantFrom('rabbit', 'kombu'), fc.array(host, { minLength: 1, maxLength: 3 }), vhost)
  .map(([scheme, hosts, path]) => `${scheme}://${hosts.join(',')}${path}`)

describe.runIf(canRunPeers())('a URL that oslo.messaging takes', () => {
  it('has the same hosts, credentials and vhost here', async () => {
    const urls = fc.sample(url, 1000)

    const theirs = await readByOslo(urls)

    expect(theirs).toHaveLength(urls.length)
    const ours = urls.map((one) => ({ url: one, ...partsOf(one) }))
    expect(ours).toEqual(urls.map((one, index) => ({ url: one, ...completed(theirs[index] as OsloUrl) })))
  })
})

async function readByOslo(urls: readonly string[]): Promise<readonly OsloUrl[]> {
  const program = fileURLToPath(new URL('peers/transport_urls.py', import.meta.url))
  const python = spawn(DISTRIBUTION_PYTHON, [...PYTHON_FLAGS, program], { stdio: ['pipe', 'pipe', 'inherit'] })
  python.stdin.end(JSON.stringify(urls))
  return (await json(python.stdout)) as readonly OsloUrl[]
}

function partsOf(url: string) {
  const { vhost, hosts } = parseTransportUrl(url)
  return { vhost, hosts: hosts.map(({ hostname, port, username, password }) => [hostname, port, username, password]) }
}

/** With what its driver takes where the URL says nothing. */
function completed({ vhost, hosts }: OsloUrl) {
  const named = hosts.length === 0 ? [[null, null, null, null]] : hosts
  return {
    vhost: vhost || '/',
    hosts: named.map(([hostname, port, username, password]) => {
      const login = username === null && password === null ? ['guest', 'guest'] : [username ?? '', password ?? '']
      return [hostname || 'localhost', port || 5672, ...login]
    }),
  }
}
