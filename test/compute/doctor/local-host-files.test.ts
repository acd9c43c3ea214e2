import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { LocalHostFiles } from '../../../src/compute/doctor/local-host-files.ts'
import { aFolder } from '../support/folders.ts'

async function aHost() {
  const root = await aFolder()
  await mkdir(join(root, 'dev'))
  await writeFile(join(root, 'release'), '6.12.9\n')
  await symlink('/dev/null', join(root, 'dev/sev'))
  return { root, files: new LocalHostFiles(root) }
}

describe('the files of a host', () => {
  it('are read below its root', async () => {
    const { files } = await aHost()

    expect(await files.text('release')).toEqual({ state: 'read', value: '6.12.9\n' })
    expect(await files.names('.')).toEqual({ state: 'read', value: ['dev', 'release'] })
    expect(await files.bytes('release', 2, 3)).toEqual({ state: 'read', value: new Uint8Array(Buffer.from('12.')) })
    expect(await files.bytes('release', 5, 16)).toEqual({ state: 'read', value: new Uint8Array(Buffer.from('9\n')) })
  })

  it('that are devices have the numbers of these', async () => {
    const { files } = await aHost()

    expect(await files.device('dev/sev')).toMatchObject({ value: { isCharacter: true, major: 1, minor: 3 } })
    expect(await files.device('release')).toMatchObject({ value: { isCharacter: false } })
  })

  it('that are not there are absent, and others that cannot be read say why', async () => {
    const { root, files } = await aHost()

    expect(await files.text('nothing')).toEqual({ state: 'absent', path: join(root, 'nothing') })
    expect(await files.text('release/below')).toEqual({ state: 'absent', path: join(root, 'release/below') })
    expect(await files.text('dev')).toEqual({ state: 'unreadable', path: join(root, 'dev'), why: 'EISDIR' })
  })

  it('are made in a folder that is there, or would be, as this user finds it', async () => {
    const { root, files } = await aHost()
    await chmod(root, 0o711)
    const shut = join(root, 'shut')
    await mkdir(join(shut, 'instances'), { recursive: true })
    await chmod(shut, 0o700)

    const found = await files.folder(join(shut, 'instances', 'not', 'yet'))
    const file = await files.folder(join(root, 'release'))

    const usual = { isWritable: true, freeGb: expect.any(Number), totalGb: expect.any(Number) }
    expect(found).toMatchObject({ value: { ...usual, found: join(shut, 'instances'), isFolder: true } })
    expect(found.state === 'read' && found.value.closed).toContain(shut)
    expect(file).toMatchObject({ value: { found: join(root, 'release'), isFolder: false } })
    expect(await files.folder(join(root, 'release', 'below'))).toMatchObject({ state: 'absent' })
  })
})
