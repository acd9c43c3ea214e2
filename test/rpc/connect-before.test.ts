import { describe, expect, it } from 'vitest'
import { connect } from '../../src/client.ts'
import { InvalidConfiguration, TransportUnavailable } from '../../src/errors.ts'
import { consumeNotifications } from '../../src/notification-consumer.ts'

/** Nobody listens on port 1. */
const NOBODY = 'amqp://guest:s3cr3t@127.0.0.1:1/'

const doors = [
  { name: 'connect()', open: (url: string, signal: AbortSignal) => connect({ url, signal }) },
  {
    name: 'consumeNotifications()',
    open: (url: string, signal: AbortSignal) => consumeNotifications({ url, signal, onNotification: async () => {} }),
  },
]

describe.each(doors)('$name of the library', ({ name, open }) => {
  it('says which broker it waited for, why that is not there, and what to do', async () => {
    const error = await open(NOBODY, AbortSignal.timeout(500)).catch((thrown: unknown) => thrown)

    expect(error).toBeInstanceOf(TransportUnavailable)
    expect(error).toMatchObject({
      code: 'TRANSPORT_UNAVAILABLE',
      message: expect.stringMatching(
        /^no connection to amqp:\/\/127\.0\.0\.1:1\/?: connect ECONNREFUSED 127\.0\.0\.1:1 \(waited [\d.]+ s\); check the url/,
      ),
      details: { fix: `check the url given to ${name}` },
    })
    expect(String(error)).not.toContain('s3cr3t')
  })

  it('gives back the reason of a caller who gave up', async () => {
    const reason = new Error('the user went away')

    await expect(open(NOBODY, AbortSignal.abort(reason))).rejects.toBe(reason)
  })

  it('does not wait where waiting is no help', async () => {
    const url = 'amqps://guest@127.0.0.1:1/?ssl_ca_file=/nowhere/ca.pem'

    await expect(open(url, AbortSignal.timeout(20_000))).rejects.toThrow(InvalidConfiguration)
  })
})
