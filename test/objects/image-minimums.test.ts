import { describe, expect, it } from 'vitest'
import type { Flavor } from '../../src/objects/flavor.ts'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import { launchProblems, launchRequest } from '../../src/objects/launch-request.ts'
import { aFlavor, anImage } from '../support/requests.ts'

const GIB = 1024 ** 3
const IMAGE = 'image linux (11111111-2222-3333-4444-555555555555)'

const problems = (image: Partial<ImageMeta>, flavor: Partial<Flavor> = {}) =>
  launchProblems(aFlavor({}, flavor), { ...anImage(), ...image }).map(({ code, message }) => [code, message])

describe('what an image needs at least', () => {
  it('is taken when the flavor has just that', () => {
    expect(problems({ min_ram: 1024, min_disk: 10, size: 10 * GIB })).toEqual([])
  })

  it.each<[Partial<ImageMeta>, string, string]>([
    [
      { min_ram: 1025 },
      'FLAVOR_MEMORY_TOO_SMALL',
      `flavor m1.test has memory_mb=1024, but ${IMAGE} has min_ram=1025; take a flavor of 1025 MiB or more`,
    ],
    [
      { min_disk: 11 },
      'FLAVOR_DISK_TOO_SMALL',
      `flavor m1.test has root_gb=10, but ${IMAGE} has min_disk=11; take a flavor whose root disk has 11 GiB or more`,
    ],
    [
      { size: 10 * GIB + 1 },
      'FLAVOR_DISK_TOO_SMALL',
      `flavor m1.test has root_gb=10, but ${IMAGE} has size=10737418241; take a flavor whose root disk has 11 GiB or more`,
    ],
  ])('of %j is refused with code %s', (image, code, message) => {
    expect(problems(image)).toEqual([[code, message]])
  })

  it('of disks is for disks of the flavor: not for one of 0 GiB, as large as its image, nor for a volume', () => {
    expect(problems({ min_disk: 11, size: 11 * GIB }, { root_gb: 0 })).toEqual([])
    expect(problems({ min_disk: 11, size: 11 * GIB, id: null })).toEqual([])
    expect(problems({ min_ram: 2048, id: null })).toMatchObject([['FLAVOR_MEMORY_TOO_SMALL', expect.anything()]])
  })

  it('is told before anything else, as in Nova, and with what it is about', () => {
    const image = { ...anImage({}), min_ram: 2048 }

    expect(() => launchRequest(aFlavor({ 'hw:mem_encryption': 'true' }), image)).toThrow(
      expect.objectContaining({
        code: 'FLAVOR_MEMORY_TOO_SMALL',
        retryable: false,
        details: {
          flavor: 'm1.test',
          image: image.id,
          property: 'min_ram',
          value: 2048,
          fix: 'take a flavor of 2048 MiB or more',
        },
      }),
    )
  })
})
