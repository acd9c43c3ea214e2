import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { openDemoFolder } from '../../src/cli/demo/demo-folder.ts'
import { SevbusProcess } from '../support/sevbus-process.ts'

it('the folder of a demo that was killed goes with the next, and no other does', async () => {
  const parent = mkdtempSync(join(tmpdir(), 'sevbus-demos-'))
  onTestFinished(() => rmSync(parent, { recursive: true }))
  vi.stubEnv('TMPDIR', parent)
  onTestFinished(() => void vi.unstubAllEnvs())
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
