import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { diskContents } from '../../../src/compute/disks/disk-contents.ts'
import { type DiskOptions, openGuestDisks } from '../../../src/compute/disks/open-guest-disks.ts'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS } from '../../../src/compute/libvirt/domain-options.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import { toolOnPath } from '../../../src/compute/run-tool.ts'
import { aQcow2, someBytes } from '../images/support/image-host.ts'
import { diskToolsFor } from '../support/disk-tools.ts'
import { aFolder } from '../support/folders.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance } from '../support/instances.ts'

const never = new AbortController().signal
const MIB = 1024 ** 2
const TOOLS = ['qemu-img', 'mkfs.ext4', 'mkswap', 'genisoimage'] as const
const toolPath = await diskToolsFor("guests' disks while workers are killed")

/** Kills its worker at the call whose number the file says, and goes on: as programs do whose worker was killed. */
const DEADLY = (tool: string, counter: string) => `#!/bin/sh
calls=$(cat '${counter}'); calls=$((calls - 1)); echo $calls > '${counter}'
if [ $calls -eq 0 ]; then kill -9 $PPID; fi
exec '${tool}' "$@"
`

const WORKER = `
const [folder, contents] = process.argv.slice(-2).map((each) => JSON.parse(each))
const { openGuestDisks } = await import(folder.module)
const disks = await openGuestDisks(folder.options, { info() {}, warn() {} })
await disks.create(contents.domain, contents.contents, new AbortController().signal)
await disks.close()
`

it.runIf(toolPath)('a worker that is killed at any program leaves what the next one makes whole', async () => {
  const folder = await aFolder()
  const [imageFolder, tools, counter] = ['images', 'tools', 'counter'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  for (const each of [imageFolder, tools]) await mkdir(each)
  const content = someBytes(2 * MIB)
  await writeFile(join(imageFolder, `${anInstance().image.id}`), await aQcow2(content))
  for (const tool of TOOLS) {
    const { file } = await toolOnPath([tool], toolPath as string)
    await writeFile(join(tools, tool), DEADLY(file, counter))
    await chmod(join(tools, tool), 0o755)
  }
  await symlink((await toolOnPath(['prlimit'], toolPath as string)).file, join(tools, 'prlimit'))
  for (const each of ['sh', 'cat']) await symlink(`/bin/${each}`, join(tools, each))
  const instance = { ...anInstance({ flavor: { root_gb: 1, ephemeral_gb: 1, swap: 8 } }), config_drive: true }

  /** On a host of its own. @returns how the worker ended that was to die at this program */
  async function killedAt(program: number): Promise<unknown> {
    const instancesPath = join(folder, `instances-${program}`)
    const options: DiskOptions = {
      instancesPath,
      imageFolder,
      imageUrl: undefined,
      imageMaxBytes: 64 * MIB,
      imageTimeoutMs: 60_000,
      cacheMaxAgeMs: 60_000,
      cacheMaxBytes: 64 * MIB,
      toolPath: tools,
    }
    const domain = buildDomain(guestSpec(instance, { ...DEFAULT_DOMAIN_OPTIONS, instancesPath }), aCapableHost())
    const contents = diskContents(instance, domain)
    await writeFile(counter, String(program))
    const work = [
      JSON.stringify({ module: resolve('dist/compute/disks/open-guest-disks.js'), options }),
      JSON.stringify({ domain, contents }),
    ]
    const args = ['--input-type=module', '--eval', WORKER, '--', ...work]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
    const [code, signal] = await once(child, 'close')

    // The next worker begins at once, while the program may still run.
    await writeFile(counter, '0')
    const disks = await openGuestDisks(options, pino({ level: 'silent' }))
    await disks.create(domain, contents, never)
    const guest = join(instancesPath, domain.uuid)
    const whole = ['console.log', 'disk', 'disk.base', 'disk.config', 'disk.eph0', 'disk.swap']
    expect(await readdir(guest)).toEqual(expect.arrayContaining(whole))
    const base = await readFile(join(guest, 'disk.base'), 'utf8')
    expect((await readFile(join(instancesPath, '_base', base))).equals(content)).toBe(true)
    await disks.remove(domain.uuid)
    expect(await readdir(instancesPath)).toEqual(['_base'])
    await disks.close()
    return signal ?? code
  }

  const ends: unknown[] = []
  while (ends.at(-1) !== 0) ends.push(await killedAt(ends.length + 1))

  expect(ends.length).toBeGreaterThan(8)
  expect(new Set(ends.slice(0, -1))).toEqual(new Set(['SIGKILL']))
})
