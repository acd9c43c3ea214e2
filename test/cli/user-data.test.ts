import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readUserData } from '../../src/cli/user-data.ts'

function aFile(content: Uint8Array | string): string {
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-user-data-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'user-data')
  writeFileSync(path, content)
  return path
}

describe('--user-data', () => {
  it('is the content of a file, whatever bytes it has', () => {
    const content = Buffer.from([0, 255, 10, ...Buffer.from('#cloud-config\n')])

    expect(Buffer.from(readUserData(aFile(content)), 'base64').equals(content)).toBe(true)
    expect(readUserData(aFile(Buffer.alloc(49_149)))).toHaveLength(65_532)
  })

  it('is refused when it is empty', () => {
    const path = aFile('')

    expect(() => readUserData(path)).toThrow(`--user-data ${path} has 0 bytes; take a file of 1 to 49149 bytes`)
  })

  it('is refused when it is too large, or never ends, without a word of it', () => {
    for (const path of [aFile(Buffer.alloc(49_150)), '/dev/zero']) {
      expect(() => readUserData(path)).toThrow(
        `--user-data ${path} cannot be read: it has more than 49149 bytes; take a file of 1 to 49149 bytes`,
      )
    }
  })

  it('is refused when there is no such file', () => {
    expect(() => readUserData('/nonexistent')).toThrow('--user-data /nonexistent cannot be read: ENOENT')
  })
})
