import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { imageFormat } from '../../../src/compute/images/image-format.ts'

const NOTHING = Buffer.alloc(512)
const beginning = (text: string, offset = 0) =>
  Buffer.concat([Buffer.alloc(offset), Buffer.from(text, 'latin1'), NOTHING])

describe('the format of an image', () => {
  it.each([
    ['qcow2', beginning('QFI\xfb\0\0\0\x03')],
    ['qcow2', beginning('QFI\xfb\0\0\0\x63')],
    ['qcow', beginning('QFI\xfb\0\0\0\x01')],
    ['qed', beginning('QED\0')],
    ['vmdk', beginning('KDMV')],
    ['vmdk', beginning('COWD')],
    ['vmdk', beginning('# Disk DescriptorFile\nversion=1\n')],
    ['vmdk', beginning('# anything\n\n  # else\r\nversion=1\nextent')],
    ['vdi', beginning('\x7f\x10\xda\xbe', 0x40)],
    ['vhd', beginning('conectix')],
    ['vhdx', beginning('vhdxfile')],
    ['parallels', beginning('WithoutFreeSpace')],
    ['parallels', beginning('WithouFreSpacExt')],
    ['luks', beginning('LUKS\xba\xbe')],
    ['bochs', beginning('Bochs Virtual HD Image')],
    ['cloop', beginning('#!/bin/sh\n#V2.0 Format\n')],
    ['gzip', beginning('\x1f\x8b\x08')],
    ['xz', beginning('\xfd7zXZ\0')],
    ['zstd', beginning('\x28\xb5\x2f\xfd')],
    ['raw', beginning('\xeb\x63\x90')],
    ['raw', beginning('version 1')],
    ['raw', Buffer.alloc(0)],
    ['raw', Buffer.from('QFI\xfb', 'latin1').subarray(0, 3)],
  ])('is %s by how it begins', (format, head) => {
    expect(imageFormat(head, NOTHING)).toBe(format)
  })

  it.each([
    ['vhd', Buffer.from('conectix')],
    ['vhd', Buffer.from('\nconectix')],
    ['dmg', Buffer.from('koly')],
    ['raw', Buffer.from('  conectix')],
  ])('is %s by how it ends', (format, tail) => {
    expect(imageFormat(NOTHING, tail)).toBe(format)
  })

  it('is found in any bytes, in a moment', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), fc.uint8Array({ maxLength: 512 }), (head, tail) => {
        expect(imageFormat(Buffer.from(head), Buffer.from(tail))).toMatch(/^[a-z0-9]+$/)
      }),
    )
    // What a pattern could be slow over.
    expect(imageFormat(Buffer.from('# \n'.repeat(20_000)), NOTHING)).toBe('raw')
  })
})
