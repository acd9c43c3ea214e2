import { findDiskTools } from '../../servers/disk-tools.ts'
import { DEBIAN_PACKAGES } from '../../servers/find-servers.ts'
import { notRun } from '../../servers/not-run.ts'

/** Where the programs are that make disks; undefined, and said at the end, where this machine has not all of them. */
export async function diskToolsFor(name: string): Promise<string | undefined> {
  const path = await findDiskTools()
  if (path === undefined) {
    const how = `apt-get install ${DEBIAN_PACKAGES.disks.join(' ')}`
    notRun({ name, why: 'qemu-img or another program that makes disks is not installed', how })
  }
  return path
}
