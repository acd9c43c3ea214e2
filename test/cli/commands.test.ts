import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { DemoFacts } from '../../src/cli/demo/facts.ts'
import { plainScreen } from '../../src/cli/demo/plain-screen.ts'
import { runHere } from '../support/run-here.ts'
import { runSevbus, SevbusProcess } from '../support/sevbus-process.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const SETTLE = { timeout: 30_000, interval: 200 }

/** In this process; what must be shown of a program of its own says `runSevbus`. */
const run = runHere

async function json(args: readonly string[], env: Readonly<Record<string, string>>) {
  const { code, out } = await run([...args, '--json'], env)
  return { code, document: JSON.parse(out) }
}

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
[images.clear]
name = "clear"
properties = { hw_firmware_type = "uefi", hw_mem_encryption = false }
`

describe('the command line', () => {
  it('boots, lists, shows, explains and deletes', async () => {
    await using cloud = await ProcessCloud.open()
    await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1'),
      cloud.compute('h1', { SEVBUS_FAKE_SEV_SLOTS: '2' }),
    ])
    const file = join(cloud.folder, 'sevbus.toml')
    writeFileSync(file, CATALOGUE)
    const env = { ...cloud.env, SEVBUS_CONFIG: file }
    await vi.waitFor(async () => expect((await json(['hosts'], env)).document.hosts).toHaveLength(1), SETTLE)
    const events = cloud.start(['events', '--config', file])
    await events.said('following')

    const boot = ['boot', 'web', '--flavor', 'm1.sev', '--image', 'linux', '--count', '3', '--json']
    const booted = await runSevbus(boot, env)

    expect(booted.code).toBe(5)
    const { instances } = JSON.parse(booted.out)
    const states = instances.map((i: { name: string; vm_state: string }) => `${i.name} ${i.vm_state}`)
    expect(
      states
        .toSorted()
        .map((s: string) => s.split(' ')[1])
        .toSorted(),
    ).toEqual(['active', 'active', 'error'])
    const failed = instances.find((i: { vm_state: string }) => i.vm_state === 'error')
    const active = instances.find((i: { vm_state: string }) => i.vm_state === 'active')

    const explained = await run(['explain', failed.name], env)
    expect(explained.code).toBe(0)
    expect(explained.out).toContain('2 of 2 SEV slots used, 0 reserved')
    const shown = await run(['show', active.uuid, '--xml'], env)
    expect(shown.out).toContain('<launchSecurity type="sev">')
    expect(shown.out).toContain('<policy>0x0033</policy>')
    expect((await run(['show', failed.name, '--xml'], env)).code).toBe(4)
    expect((await run(['delete', active.name], env)).code).toBe(0)
    await vi.waitFor(async () => {
      const { document } = await json(['hosts'], env)
      expect(document.hosts[0].instances).toBe(1)
    }, SETTLE)
    expect((await json(['list'], env)).document.instances).toHaveLength(2)
    await vi.waitFor(() => expect(events.output).toContain('instance.delete.end'), SETTLE)
    expect(events.output).toMatch(/instance\.create\.end +web-\d on h1: amd-sev, hw:mem_encryption=true/)
    expect(events.output).toContain('compute_task.build_instances.error')
    events.kill('SIGINT')
    expect(await events.exited()).toBe(0)

    const refused = await run(['boot', 'odd', '--flavor', 'm1.sev', '--image', 'clear'], env)
    expect(refused.code).toBe(5)
    expect(refused.out).toContain(
      'error FLAVOR_IMAGE_CONFLICT: flavor m1.sev has hw:mem_encryption=true but image clear',
    )
    expect(refused.out).toContain('; choose a flavor and an image that agree, or remove the property from one of them')
    expect(refused.out).not.toContain('    at ')
    expect((await json(['show', 'nobody'], env)).document.error.code).toBe('INSTANCE_NOT_FOUND')
  })

  it('says what happened, to what, and what to do, with an exit code that scripts can use', async () => {
    const nowhere = { SEVBUS_TRANSPORT_URL: 'amqp://guest:secret@127.0.0.1:1/' }

    const unreachable = await runSevbus(['list', '--timeout', '1'], nowhere)
    expect(unreachable.code).toBe(3)
    expect(unreachable.out).toContain('connect ECONNREFUSED 127.0.0.1:1 (waited 1 s)')
    expect(unreachable.out).not.toContain('secret')
    expect((await runSevbus(['list', '--bogus'], {})).code).toBe(2)
    expect((await run(['boot', 'x', '--flavor', 'none', '--image', 'none'], nowhere)).code).toBe(2)
    const tooMany = ['boot', 'x', '--flavor', 'none', '--image', 'none', '--count']
    for (const count of ['0', '1.5', 'many', '1001', '1e9']) {
      const { code, out } = await run([...tooMany, count], nowhere)
      expect(code).toBe(2)
      expect(out).toContain(`--count is "${count}"; write a whole number from 1 to 1000, e.g. --count 3`)
    }
    const noDatabase = await run(['db', 'migrate'])
    expect(noDatabase.code).toBe(2)
    expect(noDatabase.out).toContain('database.url is missing')
    const wrong = await run(['hosts'], { SEVBUS_TRANSPORT_TOPOLOGY: 'star', SEVBUS_NONSENSE: '1' })
    expect(wrong.code).toBe(2)
    expect(wrong.out).toContain('SEVBUS_NONSENSE')
    expect(wrong.out).toContain('transport.topology')
  })

  it('teaches by --help', async () => {
    const { code, out } = await runSevbus(['--help'], {})

    expect(code).toBe(0)
    for (const word of ['demo', 'dev', 'conductor', 'explain', 'Exit codes', 'sevbus boot web'])
      expect(out).toContain(word)
    expect((await run(['boot', '--help'])).out).toContain('linux-stateless')
    expect((await run(['--version'])).out).toMatch(/^\d+\.\d+\.\d+/)
  })
})

/** Once for all: it is a cloud, and the dearest command of all. */
let told: ReturnType<typeof runSevbus> | undefined
async function toldByDemo() {
  told ??= runSevbus(['demo', '--json'], {})
  const { code, out } = await told
  return { code, facts: JSON.parse(out) as DemoFacts }
}

describe('the demo', () => {
  it('boots everything it promises, and its facts agree with each other', async () => {
    const { code, facts } = await toldByDemo()

    expect(code).toBe(0)
    const { hosts, instances, refusals, notifications, totals } = facts
    expect(totals).toMatchObject({
      requested: 51,
      active: 46,
      encrypted_active: 41,
      error: 3,
      deleted: 1,
      refused_by_conductor: 1,
      slots_used: 41,
      slots_usable: 43,
      notifications: 99,
    })
    expect(hosts).toHaveLength(5)
    expect(instances).toHaveLength(50)
    expect(refusals.map(({ code }) => code).toSorted()).toEqual([
      'FLAVOR_IMAGE_CONFLICT',
      'NO_VALID_HOST',
      'NO_VALID_HOST',
      'NO_VALID_HOST',
    ])
    expect(new Set(notifications.map(({ message_id }) => message_id)).size).toBe(99)
    expect(refusals[0]?.report?.rejections).toHaveLength(5)
  })

  it('prints plain lines without a terminal, until it is interrupted', async () => {
    const demo = new SevbusProcess(['demo'], {})
    await demo.said('instance  ')
    demo.kill('SIGINT')

    expect(await demo.exited()).toBe(130)
    expect(demo.output).toMatch(/^ +\d+\.\d\d s {2}step {6}\S/)
    expect(demo.output).not.toContain('\u001b[')
  })

  it('has a plain line for each fact, and ends with the sum of it', async () => {
    const { facts } = await toldByDemo()
    let out = ''
    const write = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
      out += chunk
      return true
    })
    onTestFinished(() => write.mockRestore())

    const screen = plainScreen()
    for (const refusal of facts.refusals) screen.refusal(refusal)
    screen.end(facts)

    expect(out.split('\n').filter((line) => / s {2}refused {3}/.test(line))).toHaveLength(facts.refusals.length)
    expect(out).toContain('FLAVOR_IMAGE_CONFLICT')
    expect(stripVTControlCharacters(out)).toContain('15/15')
  })
})
