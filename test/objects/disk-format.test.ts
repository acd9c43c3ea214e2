import { describe, expect, it } from 'vitest'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import { launchProblems, launchRequest } from '../../src/objects/launch-request.ts'
import { aFlavor, anImage } from '../support/requests.ts'

const image = (disk_format: ImageMeta['disk_format']): ImageMeta => ({ ...anImage(), disk_format })

describe('the format of an image', () => {
  it.each(['iso', 'ISO'])('%s is refused: guests boot from a disk', (format) => {
    const refusal = {
      code: 'INVALID_PROPERTY',
      message: `image linux (11111111-2222-3333-4444-555555555555) has disk_format=${format}, but guests here boot from a disk, not from a CD-ROM; install the system to a disk once, and take an image of that disk (qcow2 or raw)`,
      details: {
        owner: 'image linux (11111111-2222-3333-4444-555555555555)',
        property: 'disk_format',
        value: format,
        fix: 'install the system to a disk once, and take an image of that disk (qcow2 or raw)',
      },
    }

    expect(() => launchRequest(aFlavor(), image(format))).toThrow(expect.objectContaining(refusal))
    expect(launchProblems(aFlavor(), image(format))).toEqual([expect.objectContaining(refusal)])
  })

  it.each(['qcow2', 'raw', 'isolinux', null, undefined])('%s is none of its business', (format) => {
    expect(launchProblems(aFlavor(), image(format))).toEqual([])
  })
})
