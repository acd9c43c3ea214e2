import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { refuseOtherFiles } from '../../../src/compute/libvirt/driver/volume-files.ts'
import { aFolder } from '../support/folders.ts'
import { anInstance } from '../support/instances.ts'

async function refusalOf(file: string, role: 'volume' | 'root' = 'volume'): Promise<string | undefined> {
  const { uuid } = anInstance()
  const disk = {
    role,
    device: 'disk',
    format: 'raw',
    file,
    bus: 'scsi',
    target: 'sdb',
    sizeMib: 0,
    iommu: false,
  } as const
  return refuseOtherFiles({ uuid, disks: [disk] }).then(
    () => undefined,
    (error: Error) => error.message,
  )
}

describe('what a volume really is', () => {
  it('is looked at before a guest gets it: a file by a straight path, or a block device', async () => {
    const folder = await aFolder()
    const data = join(folder, 'data.raw')
    await writeFile(data, 'x')
    await mkdir(join(folder, 'inner'))
    await symlink('/etc/passwd', join(folder, 'link.raw'))
    await symlink('/etc', join(folder, 'etc'))

    expect(await refusalOf(data)).toBeUndefined()
    expect(await refusalOf(join(folder, 'link.raw'))).toMatch('leads to /etc/passwd; name a path without links in it')
    expect(await refusalOf(join(folder, 'etc', 'passwd'))).toMatch('leads to /etc/passwd')
    expect(await refusalOf(join(folder, 'inner'))).toMatch('is no file')
    expect(await refusalOf(join(folder, 'gone'))).toMatch('cannot be looked at: ENOENT')
    expect(await refusalOf('/dev/null')).toMatch('is no block device')
  })

  it('is not asked of the disks that are made here', async () => {
    expect(await refusalOf('/not/there', 'root')).toBeUndefined()
  })
})
