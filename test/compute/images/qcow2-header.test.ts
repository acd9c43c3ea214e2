import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { qcow2Flaw } from '../../../src/compute/images/qcow2-header.ts'
import { aQcow2Header } from './support/qcow2.ts'

const FEATURE_NAMES = 0x6803f857
const BITMAPS = 0x23852875

describe('the header of a qcow2 image', () => {
  it.each([
    ['version 3', {}],
    ['version 2', { version: 2 }],
    ['the least header of version 3', { headerLength: 104 }],
    ['harmless features', { incompatibleFeatures: (1n << 3n) | (1n << 4n) }],
    [
      'names of features, and others that QEMU passes over',
      {
        extensions: [
          [FEATURE_NAMES, 'x'],
          [BITMAPS, 'y'.repeat(24)],
          [0x0badcafe, 'z'],
        ],
      },
    ],
    ['small clusters', { clusterBits: 9 }],
  ] as const)('is taken with %s', (_, changes) => {
    expect(qcow2Flaw(aQcow2Header(changes))).toBeUndefined()
  })

  it.each([
    ['it has a backing file', { backingOffset: 0x200, backingSize: 11 }],
    ['it has a backing file', { version: 2, backingOffset: 0x200, backingSize: 11 }],
    ['it has a backing file', { backingOffset: 0x200 }],
    ['it has a backing file', { backingSize: 11 }],
    ['its data is in another file (data_file)', { incompatibleFeatures: 1n << 2n }],
    ['its data is in another file (data_file)', { extensions: [[0x44415441, '/etc/shadow']] }],
    [
      'its data is in another file (data_file)',
      {
        extensions: [
          [FEATURE_NAMES, 'x'.repeat(9)],
          [0x44415441, '/etc/shadow'],
        ],
      },
    ],
    ['it names the format of a backing file', { extensions: [[0xe2792aca, 'raw']] }],
    ['it is encrypted', { cryptMethod: 1 }],
    ['it is encrypted', { cryptMethod: 2 }],
    ['it is encrypted', { extensions: [[0x0537be77, 'x'.repeat(16)]] }],
    ['it has snapshots', { snapshots: 1 }],
    ['it was not closed properly (dirty)', { incompatibleFeatures: 1n << 0n }],
    ['it is marked as corrupt', { incompatibleFeatures: 1n << 1n }],
    ['it has the incompatible feature 5, which nobody knows', { incompatibleFeatures: 1n << 5n }],
    ['it has the incompatible feature 63, which nobody knows', { incompatibleFeatures: 1n << 63n }],
    ['it is qcow2 of version 4, which nobody knows', { version: 4 }],
    ['its cluster_bits are 8', { clusterBits: 8 }],
    ['its cluster_bits are 22', { clusterBits: 22 }],
    ['its header_length is 96', { headerLength: 96 }],
    ['its header_length is 106', { headerLength: 106 }],
    [
      'its header extensions do not end within its first cluster',
      { endMark: false, headerLength: 104, clusterBits: 21 },
    ],
  ] as const)('is refused: %s', (flaw, changes) => {
    expect(qcow2Flaw(aQcow2Header(changes))).toBe(flaw)
  })

  it.each([0, 8, 71, 72, 103])('is refused when cut off after %i bytes', (length) => {
    expect(qcow2Flaw(aQcow2Header().subarray(0, length))).toBe('its header is cut off')
  })

  it('may fill its first cluster to the end, and no further', () => {
    const full = aQcow2Header({ clusterBits: 9, headerLength: 104, extensions: [[FEATURE_NAMES, 'x'.repeat(400)]] })
    const further = aQcow2Header({ clusterBits: 9, headerLength: 104, extensions: [[FEATURE_NAMES, 'x'.repeat(408)]] })

    expect([qcow2Flaw(full), qcow2Flaw(further)]).toEqual([
      undefined,
      'its header extensions do not end within its first cluster',
    ])
  })

  it('made of any bytes is refused or taken, and never read beyond its end', () => {
    const anyHeader = fc.tuple(fc.uint8Array({ maxLength: 700 }), fc.constantFrom(2, 3), fc.boolean())
    fc.assert(
      fc.property(anyHeader, ([bytes, version, keepsBase]) => {
        const head = Buffer.from(bytes)
        if (head.length >= 8) head.writeUInt32BE(version, 4)
        if (keepsBase) aQcow2Header().copy(head, 8, 8, 72)
        const flaw = qcow2Flaw(head)
        expect(flaw === undefined || flaw.startsWith('it')).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })
})
