import fs, { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { openDemoFolder } from '../../src/cli/demo/demo-folder.ts'
import { SevbusProcess } from '../support/sevbus-process.ts'

function aParent(): string {
  const parent = mkdtempSync(join(tmpdir(), 'sevbus-demos-'))
  onTestFinished(() => rmSync(parent, { recursive: true }))
  vi.stubEnv('TMPDIR', parent)
  onTestFinished(() => void vi.unstubAllEnvs())
  return parent
}

it('the folder of a demo that was killed goes with the next, and no other does', async () => {
  const parent = aParent()
  const names = () => readdirSync(parent).toSorted()
  const killed = new SevbusProcess(['demo'], { TMPDIR: parent })
  await vi.waitFor(
    () => expect(readdirSync(join(parent, names()[0] ?? ''))).toContainEqual(expect.stringMatching(/^owner/)),
    {
      timeout: 60_000,
    },
  )
  const [left] = names()
  killed.kill('SIGKILL')
  await killed.exited()
  expect(names()).toEqual([left])
  mkdirSync(join(parent, 'sevbus-demo-begun'))
  symlinkSync(join(parent, 'sevbus-demo-begun'), join(parent, 'sevbus-demo-link'))
  mkdirSync(join(parent, 'others'))

  const one = await openDemoFolder()
  const kept = ['others', 'sevbus-demo-begun', 'sevbus-demo-link']
  expect(names()).toEqual([...kept, one.folder.slice(parent.length + 1)].toSorted())
  const other = await openDemoFolder()
  expect(names()).toEqual([...kept, ...[one, other].map(({ folder }) => folder.slice(parent.length + 1))].toSorted())
  one.remove()
  other.remove()

  expect(names()).toEqual(kept)
})

it('the folder of a demo that was killed before it had locked it, or while it removed it, goes a minute later', async () => {
  const parent = aParent()
  const aMinuteAgo = new Date(Date.now() - 61_000)
  for (const name of ['begun', 'half-removed', 'begun-now']) mkdirSync(join(parent, `sevbus-demo-${name}`))
  writeFileSync(join(parent, 'sevbus-demo-half-removed', 'journal'), '')
  for (const name of ['begun', 'half-removed']) utimesSync(join(parent, `sevbus-demo-${name}`), aMinuteAgo, aMinuteAgo)

  const { folder, remove } = await openDemoFolder()

  expect(readdirSync(parent).toSorted()).toEqual(['sevbus-demo-begun-now', basename(folder)].toSorted())
  remove()
})

it('a demo without a temporary folder says so, and what to do', async () => {
  const missing = join(aParent(), 'missing')
  vi.stubEnv('TMPDIR', missing)

  await expect(openDemoFolder()).rejects.toMatchObject({
    code: 'INVALID_CONFIGURATION',
    message: `no folder can be made in the temporary folder ${missing} (ENOENT); make room there, or name another one: TMPDIR=/path`,
  })
})

it('a demo whose temporary folder shows nobody what is in it has a folder there all the same', async () => {
  const parent = aParent()
  const refused = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' })
  const readdir = vi.spyOn(fs, 'readdirSync').mockImplementationOnce(() => {
    throw refused
  })
  syncBuiltinESMExports()
  onTestFinished(() => {
    readdir.mockRestore()
    syncBuiltinESMExports()
  })

  const { folder, remove } = await openDemoFolder()

  expect(readdirSync(parent)).toEqual([basename(folder)])
  remove()
})
