import { describe, expect, it } from 'vitest'
import { conductorLastTold } from '../src/conductor-replay.ts'
import { ServiceStopping, UnsupportedVersion } from '../src/errors.ts'

const UUID = '178b0921-8f85-4257-88b6-2e743b5a975c'
const { signal } = new AbortController()

describe('how far conductors have counted', () => {
  it('is told by instance, and not by conductors of an earlier release', async () => {
    const last = { sequence: 7, message_id: 'a' }
    const told = conductorLastTold(
      {
        listLastEvents: async (_, { instance_uuids }) => ({
          last_events: instance_uuids.map((instance_uuid) => ({ instance_uuid, ...last })),
        }),
      },
      signal,
    )
    const refusing = (error: Error) =>
      conductorLastTold({ listLastEvents: async () => Promise.reject(error) }, signal)([UUID])

    expect(await told([UUID])).toEqual(new Map([[UUID, last]]))
    expect(await refusing(new UnsupportedVersion('1.18 is not served'))).toBeUndefined()
    await expect(refusing(new ServiceStopping('later'))).rejects.toThrow('later')
  })
})
