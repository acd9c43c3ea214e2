import type { Examination } from './examination.ts'
import { type Finding, fail, pass, warn } from './finding.ts'
import { whyUnread } from './reading.ts'

const DISKS = { check: 'instances_path', title: "folder of guests' disks" }
/** Less is not enough for the image of one guest, in GiB. */
const LITTLE_GB = 10

/** Where the worker makes disks, and QEMU opens them. */
export function checkInstancesPath({ host: { instancesFolder }, options: { instancesPath } }: Examination): Finding {
  if (instancesFolder.state !== 'read') {
    return fail(DISKS, instancesPath, whyUnread(instancesFolder), 'mend the path, or set compute.instances_path')
  }
  const { found, isFolder, isWritable, closed, freeGb, totalGb, kind } = instancesFolder.value
  const isThere = found === instancesPath
  const value = `${instancesPath}: ${isThere ? '' : 'not there yet, '}${freeGb} of ${totalGb} GiB free${kind ? `, ${kind}` : ''}`
  if (!isFolder)
    return fail(DISKS, value, `${found} is no folder: guests get no disks`, `remove it, or set compute.instances_path`)
  if (!isWritable) {
    const meaning = `this user may not write in ${found}: guests get no disks, if the worker runs as the same`
    const command = isThere ? `chown USER ${found}` : `install -d -o USER ${instancesPath}`
    return fail(DISKS, value, meaning, `run as the user of the worker; or as root, for that user: ${command}`)
  }
  if (closed.length > 0) {
    const meaning = `others may not pass through ${closed.join(', ')}: QEMU, which has a user of its own, finds no disk`
    return fail(DISKS, value, meaning, `chmod o+x ${closed.join(' ')}`)
  }
  if (kind === 'tmpfs' || kind === 'ramfs') {
    const meaning = "it is memory: guests' disks take what guests need, and are gone after a boot of the host"
    return warn(DISKS, value, meaning, 'set compute.instances_path to a folder on a disk')
  }
  if (freeGb < LITTLE_GB) {
    return warn(
      DISKS,
      value,
      'hardly room for an image',
      'make room, or set compute.instances_path to a larger file system',
    )
  }
  if (kind !== undefined) {
    const meaning = `a ${kind} is seen by several hosts: two workers must not have the same folder, and the second one does not start`
    return warn(DISKS, value, meaning, 'give each host a folder of its own there')
  }
  return pass(
    DISKS,
    value,
    isThere ? 'the worker may write there, and QEMU may pass' : 'the worker makes it when it starts',
  )
}
