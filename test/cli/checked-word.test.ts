import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { boot } from '../../src/cli/boot.ts'
import { uuidWord } from '../../src/cli/checked-word.ts'
import { attachVolume, detachInterface } from '../../src/cli/devices.ts'
import { createGroup } from '../../src/cli/groups.ts'
import { setHost, showHost } from '../../src/cli/host.ts'
import { runProgram } from '../../src/cli/program.ts'
import { snapshot } from '../../src/cli/snapshot.ts'
import { openPglite } from '../../src/database/pglite.ts'
import { lockFolder } from '../../src/folder-lock.ts'

const QUIET = { json: false, debug: false }
const BOOT = { ...QUIET, flavor: 'm1.small', image: 'linux', count: '1', wait: false }
const UUID = 'a5c90d06-0000-4000-8000-000000000001'

const HOST = 'write the name of a host as sevbus hosts shows it: letters, digits, dot, dash and underscore'
const NAMED = (max: number) => `write a name of 1 to ${max} characters, none of them a control character`
const NEW_UUID = 'write a uuid, or leave it out: then a new one is made'

describe('a word that no contract takes', () => {
  it.each<[string, string, string, () => Promise<number>]>([
    ['<name>', '', NAMED(240), async () => boot('', BOOT)],
    ['<name>', UUID, 'write a name: a uuid always means what has it', async () => boot(UUID, BOOT)],
    [
      '<name>',
      UUID,
      'write a name: a uuid always means what has it',
      async () => createGroup(UUID, { ...QUIET, policy: 'affinity' }),
    ],
    ['<name>', '', NAMED(255), async () => snapshot('p1', '', QUIET)],
    ['--image-id', 'zz', NEW_UUID, async () => snapshot('p1', 'a', { ...QUIET, imageId: 'zz' })],
    ['--volume-id', 'zz', NEW_UUID, async () => attachVolume('p1', '/srv/x', { ...QUIET, volumeId: 'zz' })],
    [
      '<mac>',
      'zz',
      'write its MAC address as sevbus show has it, e.g. fa:16:3e:00:00:05',
      async () => detachInterface('p1', 'zz', QUIET),
    ],
    ['<host>', '-', HOST, async () => setHost('-', { ...QUIET, forcedDown: true })],
    ['<host>', 'a b', HOST, async () => showHost('a b', QUIET)],
  ])('is refused before anybody is asked, by its name in the help: %s %j', async (field, value, fix, work) => {
    await expect(work()).rejects.toMatchObject({
      code: 'INVALID_ARGUMENTS',
      message: expect.stringContaining(`${field} is ${JSON.stringify(value)}`),
      details: { field, value, fix },
    })
  })

  it('is a new uuid where none is given', () => {
    expect([uuidWord('--image-id', UUID), uuidWord('--image-id', undefined)]).toEqual([
      UUID,
      expect.stringMatching(/^[0-9a-f-]{36}$/),
    ])
  })
})

it('an embedded database that another has says what to do instead in the words of who opens it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-in-use-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const other = await lockFolder(folder, { what: 'it', fix: 'wait' })
  onTestFinished(() => other.release())

  await expect(openPglite({ folder, instead: 'give it --folder' })).rejects.toMatchObject({
    code: 'ALREADY_IN_USE',
    details: { fix: `stop process ${process.pid}, or give it --folder` },
  })
})

it.each([
  ['help nope', 'there is no command nope to help with; see them all with: sevbus --help'],
  ['help host nope', 'there is no command host nope to help with; see them all with: sevbus host --help'],
  ['host help nope', 'there is no command host nope to help with; see them all with: sevbus host --help'],
  ['db help boot', 'there is no command db boot to help with; see them all with: sevbus db --help'],
])('%s says that there is no such command', async (words, told) => {
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  onTestFinished(() => said.mockRestore())

  expect(await runProgram(['node', 'sevbus', ...words.split(' ')])).toBe(2)
  expect(said.mock.calls.join('')).toContain(told)
})

it.each([
  ['help boot', 'linux-stateless'],
  ['help host set', 'Usage: sevbus host set'],
  ['host help set', 'Usage: sevbus host set'],
  ['host help', 'Usage: sevbus host [options] [command]'],
])('%s is of that command, with examples', async (words, told) => {
  const said = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  onTestFinished(() => said.mockRestore())

  expect(await runProgram(['node', 'sevbus', ...words.split(' ')])).toBe(0)
  expect(said.mock.calls.join('')).toContain(told)
})
