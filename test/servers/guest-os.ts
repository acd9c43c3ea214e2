import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { onPath } from '../../src/servers/programs.ts'
import { mayInstall } from './debian-packages.ts'
import type { Lack } from './hypervisor.ts'

const run = promisify(execFile)
const MIB = 1024 * 1024
const META_PACKAGE = 'linux-image-cloud-amd64'

/** What the guest writes to its serial port: when it hears, and when it has heard. */
export const GUEST_LISTENS = 'the guest listens'
export const GUEST_SHUTS_DOWN = 'the guest shuts down'

/** Waits for the power button, which is what a host presses by ACPI. */
const INIT = `#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
busybox insmod /button.ko
busybox insmod /evdev.ko
busybox sleep 1
for event in /dev/input/event*; do
  (busybox head -c 24 $event >/dev/null; busybox echo ${GUEST_SHUTS_DOWN}; busybox poweroff -f) &
done
busybox echo ${GUEST_LISTENS}
wait
`

/** Why no guest with an operating system can be made here; undefined: one can. */
export async function whyNoGuestOs(): Promise<Lack | undefined> {
  if (process.arch !== 'x64') return { why: 'this is not x86-64', how: 'run the tests on x86-64' }
  const missing = []
  for (const tool of ['mkfs.vfat', 'mcopy']) if ((await onPath(tool)) === undefined) missing.push(tool)
  if (missing.length > 0) return { why: `no ${missing.join(', ')}`, how: 'apt-get install dosfstools mtools' }
  if (await mayInstall()) {
    if ((await kernelPackage()) !== undefined) return undefined
    return { why: `apt knows no kernel of ${META_PACKAGE}`, how: 'apt-get update, on Debian' }
  }
  return {
    why: "the distribution's kernel may not be fetched",
    how: 'run the tests as root on Debian, without SEVBUS_TEST_NO_INSTALL',
  }
}

/**
 * Makes a disk from which a BIOS boots the distribution's kernel, with a program that shuts down when it is asked to. The
 * packages are unpacked into the folder, and not installed: nothing of the machine changes.
 */
export async function makeGuestOsDisk(folder: string, disk: string): Promise<void> {
  const root = await fetchPackages(folder)
  const [version = ''] = await readdir(join(root, 'lib/modules'))
  const drivers = join(root, 'lib/modules', version, 'kernel/drivers')
  const initrd = join(folder, 'initrd')
  await writeFile(
    initrd,
    archiveOf([
      ['dev', 0o40755],
      ['bin', 0o40755],
      ['bin/busybox', 0o100755, await readFile(join(root, 'bin/busybox'))],
      ['button.ko', 0o100644, await readFile(join(drivers, 'acpi/button.ko'))],
      ['evdev.ko', 0o100644, await readFile(join(drivers, 'input/evdev.ko'))],
      ['init', 0o100755, Buffer.from(INIT)],
      ['TRAILER!!!', 0],
    ]),
  )
  const boot = join(folder, 'syslinux.cfg')
  await writeFile(
    boot,
    'DEFAULT linux\nLABEL linux\nKERNEL vmlinuz\nAPPEND initrd=initrd console=ttyS0 quiet panic=1\n',
  )
  await writeFile(disk, '')
  await truncate(disk, 64 * MIB)
  await run('mkfs.vfat', [disk])
  await run('mcopy', ['-i', disk, join(root, 'boot', `vmlinuz-${version}`), '::vmlinuz'])
  await run('mcopy', ['-i', disk, initrd, boot, '::'])
  await run(join(root, 'usr/bin/syslinux'), ['-i', disk])
}

async function fetchPackages(folder: string): Promise<string> {
  const root = join(folder, 'root')
  await mkdir(root, { recursive: true })
  await download(folder).catch(async () => {
    // The archive has a newer one by now than apt knows of.
    await run('apt-get', ['-qq', 'update'])
    await download(folder)
  })
  for (const name of await readdir(folder)) {
    if (name.endsWith('.deb')) await run('dpkg-deb', ['-x', join(folder, name), root])
  }
  return root
}

async function kernelPackage(): Promise<string | undefined> {
  const { stdout } = await run('apt-cache', ['depends', META_PACKAGE]).catch(() => ({ stdout: '' }))
  return /linux-image-[\w.-]+-cloud-amd64/.exec(stdout)?.[0]
}

async function download(folder: string): Promise<void> {
  const packages = [(await kernelPackage()) ?? META_PACKAGE, 'busybox-static', 'syslinux']
  await run('apt-get', ['-o', 'APT::Sandbox::User=root', '-qq', 'download', ...packages], { cwd: folder })
}

type Entry = readonly [name: string, mode: number, content?: Buffer]

/** As the kernel unpacks it. Source: "initramfs buffer format" of the kernel's documentation, `newc`. */
function archiveOf(entries: readonly Entry[]): Buffer {
  const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)])
  return Buffer.concat(
    entries.flatMap(([name, mode, content = Buffer.alloc(0)], index) => {
      const fields = [index + 1, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0]
      const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`
      return [padded(Buffer.from(header)), padded(content)]
    }),
  )
}
