import { describe, expect, it } from 'vitest'
import { launchProblems } from '../../src/objects/launch-request.ts'
import { shutdownTimeoutSeconds } from '../../src/objects/shutdown-timeout.ts'
import { anInstance } from '../compute/support/instances.ts'

const imageWith = (value: unknown) => {
  const { image } = anInstance()
  return { ...image, properties: { ...image.properties, os_shutdown_timeout: value as string } }
}

describe('how long a guest may take to shut down', () => {
  it.each([
    [undefined, undefined],
    [null, undefined],
    ['300', 300],
    [0, 0],
    ['86400', 86_400],
  ])('is %j of an image: %j seconds', (value, seconds) => {
    expect(shutdownTimeoutSeconds(imageWith(value))).toBe(seconds)
  })

  it.each(['', 'soon', '-1', '1.5', '86401', true])(
    'is not %j, and such an image is refused with the request',
    (value) => {
      const [problem] = launchProblems(anInstance().flavor, imageWith(value))

      expect(problem).toMatchObject({ code: 'INVALID_PROPERTY', details: { property: 'os_shutdown_timeout', value } })
    },
  )
})
