import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { runHere } from '../support/run-here.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const CATALOGUE = `
[flavors."m1.sev"]
flavorid = "1"
name = "m1.sev"
vcpus = 1
memory_mb = 1024
root_gb = 1
extra_specs = { "hw:mem_encryption" = "true" }
[images.linux]
name = "linux"
properties = { hw_firmware_type = "uefi" }
`

describe('what is done to instances by the command line', () => {
  it('is waited for, shown and explained, and refused where the instance is not as it needs', async () => {
    await using cloud = await ProcessCloud.open()
    await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1'),
      cloud.compute('h1', { SEVBUS_FAKE_SEV_SLOTS: '1', SEVBUS_COMPUTE_VOLUME_FOLDERS: '/srv/volumes' }),
    ])
    await cloud.client({ hosts: 1 })
    const file = join(cloud.folder, 'sevbus.toml')
    writeFileSync(file, CATALOGUE)
    const env = { ...cloud.env, SEVBUS_CONFIG: file }
    const sevbus = (...args: readonly string[]) => runHere(args, env)
    const state = async (...args: readonly string[]) => {
      const { code, out } = await sevbus(...args, '--json')
      return [code, ...JSON.parse(out).instances.map((each: { vm_state: string }) => each.vm_state)]
    }

    expect(await state('boot', 'web', '--flavor', 'm1.sev', '--image', 'linux')).toEqual([0, 'active'])
    // One word that means nothing, and nothing is done to the others.
    expect(await sevbus('delete', 'web', 'nope')).toMatchObject({
      code: 4,
      out: expect.stringContaining('no instance is called nope; nothing was done to any of them'),
    })
    expect(await state('stop', 'web', 'web', '--wait')).toEqual([0, 'stopped'])
    expect(await state('list', '--state', 'stopped')).toEqual([0, 'stopped'])
    // Its slot stays its own.
    expect(await state('boot', 'late', '--flavor', 'm1.sev', '--image', 'linux')).toEqual([5, 'error'])
    expect(await sevbus('stop', 'web', '--hard')).toMatchObject({
      code: 5,
      out: expect.stringContaining('stop needs an instance that is active or error'),
    })
    expect(await state('start', 'web', '--wait')).toEqual([0, 'active'])
    expect(await state('attach-volume', 'web', '/srv/volumes/data.raw', '--wait')).toEqual([0, 'active'])
    expect((await sevbus('show', 'web')).out).toMatch(/volume +[0-9a-f-]{36}: \/srv\/volumes\/data.raw as sdb on scsi/)
    expect(await sevbus('attach-volume', 'web', '/etc/shadow', '--wait')).toMatchObject({
      code: 5,
      out: expect.stringContaining('DEVICE_NOT_ALLOWED: volume'),
    })
    expect(await state('detach-volume', 'web', '/srv/volumes/data.raw', '--wait')).toEqual([0, 'active'])
    expect(await sevbus('detach-volume', 'web', '/srv/volumes/data.raw')).toMatchObject({
      code: 4,
      out: expect.stringContaining('has no volume /srv/volumes/data.raw'),
    })
    expect(await state('attach-interface', 'web', '--mac', 'fa:16:3e:00:00:77', '--wait')).toEqual([0, 'active'])
    expect(await state('detach-interface', 'web', 'fa:16:3e:00:00:77', '--wait')).toEqual([0, 'active'])
    expect(await sevbus('console-log', 'web', '--json')).toMatchObject({
      code: 0,
      out: expect.stringContaining('"output": ""'),
    })
    expect(await sevbus('console', 'web')).toMatchObject({
      code: 5,
      out: expect.stringContaining('the guest has no vnc console; set compute.graphics = "vnc" on its host'),
    })
    const { out } = await sevbus('explain', 'web')
    expect(out).toMatch(/action 1: stop: completed .*\n.*action 2: start: completed/)

    expect(await sevbus('rebuild', 'web', '--image', 'linux', '--wait')).toMatchObject({ code: 0 })
    expect((await sevbus('explain', 'web')).out).toContain('rebuild on h1: done')
    // Its slot is another's now.
    expect(await state('shelve', 'web', '--wait')).toEqual([0, 'shelved_offloaded'])
    expect(await state('boot', 'next', '--flavor', 'm1.sev', '--image', 'linux')).toEqual([0, 'active'])
    expect(await state('unshelve', 'web', '--wait')).toEqual([5, 'shelved_offloaded'])
    expect(await state('shelve', 'next', '--hard', '--wait')).toEqual([0, 'shelved_offloaded'])
    expect(await state('unshelve', 'web', '--availability-zone', 'room-2', '--wait')).toEqual([5, 'shelved_offloaded'])
    expect(await sevbus('unshelve', 'web', '--host', 'h1')).toMatchObject({
      code: 5,
      out: expect.stringContaining('UNSHELVE_HOST_NOT_IN_AZ'),
    })
    const back = ['--no-availability-zone', '--host', 'h1', '--wait']
    expect(await state('unshelve', 'web', ...back)).toEqual([0, 'active'])
  })
})
