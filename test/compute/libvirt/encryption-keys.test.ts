import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encryptionKeys, readEncryptionKeys } from '../../../src/compute/libvirt/encryption-keys.ts'
import { aFolder } from '../support/folders.ts'

/** A machine whose misc controller shows these files, by path below the root group. */
async function aMachine(files: Readonly<Record<string, string>>): Promise<string> {
  const root = await aFolder()
  for (const [path, text] of Object.entries(files)) {
    const file = join(root, 'sys/fs/cgroup', path)
    await mkdir(join(file, '..'), { recursive: true })
    await writeFile(file, text)
  }
  return root
}

const CAPACITY = 'sev 410\nsev_es 99\n'

describe('encryption keys', () => {
  it('are read as the root group of the misc controller shows them', async () => {
    const root = await aMachine({ 'misc.capacity': CAPACITY, 'misc.current': 'sev 3\nsev_es 0\n' })

    expect(await readEncryptionKeys(root)).toEqual({
      sev: { current: 3, capacity: 410 },
      sev_es: { current: 0, capacity: 99 },
    })
  })

  it('are added up over the groups below the root where an older kernel shows them there only', async () => {
    const root = await aMachine({
      'misc.capacity': CAPACITY,
      'machine.slice/misc.current': 'sev 3\nsev_es 2\n',
      'machine.slice/machine-qemu-1.scope/misc.current': 'sev 3\nsev_es 2\n',
      'system.slice/misc.current': 'sev 1\nsev_es 0\n',
      'user.slice/cgroup.procs': '',
    })

    expect(await readEncryptionKeys(root)).toEqual({
      sev: { current: 4, capacity: 410 },
      sev_es: { current: 2, capacity: 99 },
    })
  })

  it('are unknown, and not none, where nothing tells what is in use, or that there are any', async () => {
    expect(await readEncryptionKeys(await aMachine({}))).toBeUndefined()
    expect(await readEncryptionKeys(await aMachine({ 'misc.current': 'sev 1\n' }))).toBeUndefined()
    const notSwitchedOn = await aMachine({ 'misc.capacity': CAPACITY, 'machine.slice/cgroup.procs': '' })
    expect(await readEncryptionKeys(notSwitchedOn)).toBeUndefined()
  })

  it('are none of a kind that the machine does not have, and no other name is taken for one', () => {
    expect(encryptionKeys('sev_es 99\ntdx 7\n', ['not_sev 4\nsev_es 5\n'])).toEqual({
      sev: { current: 0, capacity: 0 },
      sev_es: { current: 5, capacity: 99 },
    })
  })
})
