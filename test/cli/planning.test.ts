import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openDriver } from '../../src/compose/compute-host.ts'
import { slotLimits } from '../../src/compose/host-options.ts'
import { HostView } from '../../src/compute/host-view.ts'
import { loadConfig } from '../../src/config.ts'
import { runHere } from '../support/run-here.ts'
import { runSevbus } from '../support/sevbus-process.ts'
import { silent } from '../support/transports.ts'

const folder = mkdtempSync(join(tmpdir(), 'sevbus-planning-'))

function file(name: string, content: unknown): string {
  const path = join(folder, name)
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

function flavorFile(name: string, extra_specs: Record<string, string>): string {
  return file(`${name}.json`, { flavorid: name, name, vcpus: 1, memory_mb: 2048, root_gb: 10, extra_specs })
}

const sev = flavorFile('m1.sev', { 'hw:mem_encryption': 'true' })
const small = flavorFile('m1.small', {})
const uefi = file('uefi.json', { name: 'linux', properties: { hw_firmware_type: 'uefi' } })
const bios = file('bios.json', { name: 'linux', properties: { hw_machine_type: 'pc' } })

async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return await runHere(args, env)
}

async function lintJson(flavor: string, image: string, more: readonly string[] = [], env = {}) {
  const { code, out } = await run(['lint', '--flavor', flavor, '--image', image, '--json', ...more], env)
  return { code, judgement: JSON.parse(out) }
}

async function hostFile(name: string, env: Readonly<Record<string, string>>): Promise<string> {
  const { code, out } = await run(['host-capabilities', '--host', name], env)
  expect(code).toBe(0)
  return file(`${name}.json`, out)
}

/** What the worker of this configuration offers. */
async function reportedBy(host: string, env: Readonly<Record<string, string>>) {
  const { compute, ...config } = loadConfig({ env, host })
  const driver = await openDriver({ ...config, compute: { ...compute, state_folder: join(folder, host) } }, silent)
  try {
    const view = new HostView({ driver, limits: slotLimits(compute), logger: silent })
    return await view.look(new AbortController().signal)
  } finally {
    await driver.close()
  }
}

describe('sevbus lint', () => {
  it('says what a boot would ask for, without a broker and a database', async () => {
    const { code, judgement } = await lintJson(sev, uefi)

    expect(code).toBe(0)
    expect(judgement).toEqual({
      verdict: 'ok',
      flavor: 'm1.sev',
      image: 'linux',
      problems: [],
      request: {
        mem_encryption: { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' },
        placement: {
          resources: { VCPU: 1, MEMORY_MB: 2080, DISK_GB: 10, MEM_ENCRYPTION_CONTEXT: 1 },
          required_traits: ['HW_CPU_X86_AMD_SEV'],
          forbidden_traits: [],
        },
        extra_specs: {
          'hw:mem_encryption': 'true',
          'resources:MEM_ENCRYPTION_CONTEXT': '1',
          'trait:HW_CPU_X86_AMD_SEV': 'required',
        },
        memory: {
          flavor_mb: 2048,
          overhead_mb: 32,
          claimed_mb: 2080,
          locked: true,
          pinned: true,
          page_size: null,
        },
      },
      host: null,
      alternatives: [],
    })
  })

  it('judges each model that would do: the one asked for first may be missing where another is there', async () => {
    const host = await hostFile('es-1', { SEVBUS_FAKE_SEV_ES_SLOTS: '4' })
    const either = flavorFile('m1.cc', { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev,amd-sev-es' })
    const { code, judgement } = await lintJson(either, uefi, ['--host', host])

    expect(code).toBe(0)
    expect(judgement).toMatchObject({
      verdict: 'ok',
      request: { mem_encryption: { model: 'amd-sev' } },
      host: { takes_it: false },
      alternatives: [{ request: { mem_encryption: { model: 'amd-sev-es' } }, host: { takes_it: true } }],
    })
    const { out } = await run(['lint', '--flavor', either, '--image', uefi, '--host', host])
    expect(out).toMatch(/asked for first: SEV\n.+refused by es-1.+when no host can give that: SEV-ES\n.+taken by es-1/s)
    const { out: document } = await run(['xml', '--flavor', either, '--image', uefi, '--host', host])
    expect(document).toContain('<policy>0x0037</policy>')
    const nowhere = await hostFile('plain-2', {})
    expect((await lintJson(either, uefi, ['--host', nowhere])).code).toBe(5)
    expect((await run(['xml', '--flavor', either, '--image', uefi, '--host', nowhere])).out).toContain('SEV')
  })

  it('and the other commands for planning do the same as programs of their own', async () => {
    const host = await runSevbus(['host-capabilities', '--host', 'own-1'], {})
    const asked = ['--flavor', sev, '--image', uefi]

    expect([host.code, JSON.parse(host.out)]).toEqual([
      0,
      JSON.parse(readFileSync(await hostFile('own-1', {}), 'utf8')),
    ])
    for (const args of [
      ['lint', ...asked],
      ['lint', ...asked, '--host', uefi],
    ]) {
      expect(await runSevbus(args, {})).toEqual(await run(args))
    }
    const own = ['xml', ...asked, '--host', 'examples/host.json']
    expect(await runSevbus(own, {})).toEqual(await run(own))
  })

  it('counts the overhead that the configuration has, and none for a guest in clear', async () => {
    const env = { SEVBUS_SCHEDULER_MEM_ENCRYPTION_OVERHEAD_MB: '100' }

    expect((await lintJson(sev, uefi, [], env)).judgement.request.memory.claimed_mb).toBe(2148)
    const { code, out } = await run(['lint', '--flavor', small, '--image', bios], env)
    expect(code).toBe(0)
    expect(out).toMatch(/encryption +none: the guest runs in clear/)
    expect(out).toMatch(/memory +2048 MiB\n/)
  })

  it('tells all that would be refused and the fixes, with the exit code of a refusal', async () => {
    const { code, out } = await run(['lint', '--flavor', sev, '--image', bios])

    expect(code).toBe(5)
    expect(out).toContain('refused FLAVOR_IMAGE_CONFLICT: memory encryption was asked for by flavor m1.sev')
    expect(out).toContain('; set hw_firmware_type=uefi on the image')
    expect(out).toContain('refused INVALID_MACHINE_TYPE: image linux (<no-id>) has hw_machine_type=pc')
    const { judgement } = await lintJson(sev, bios)
    expect(judgement).toMatchObject({ verdict: 'refused', request: null, host: null })
    expect(judgement.problems.map(({ code, fix }: { code: string; fix: string }) => [code, fix])).toEqual([
      [
        'FLAVOR_IMAGE_CONFLICT',
        'set hw_firmware_type=uefi on the image, or in the image properties of the volume it boots from',
      ],
      [
        'INVALID_MACHINE_TYPE',
        'set hw_machine_type=q35 on the image, or in the image properties of the volume it boots from, or remove it',
      ],
    ])
  })

  it('says whether a host would take it, and everything that keeps it from it', async () => {
    const good = await hostFile('epyc-1', { SEVBUS_FAKE_SEV_SLOTS: '15' })
    const bad = await hostFile('old-1', { SEVBUS_FAKE_DEFAULT_MACHINE_TYPE: 'pc', SEVBUS_FAKE_MEMORY_MB: '2100' })

    const taken = await lintJson(sev, uefi, ['--host', good])
    const refused = await lintJson(sev, uefi, ['--host', bad])

    expect([taken.code, taken.judgement.host]).toEqual([0, { host: 'epyc-1', takes_it: true, rejections: [] }])
    expect([refused.code, refused.judgement.verdict, refused.judgement.host.takes_it]).toEqual([5, 'refused', false])
    expect(
      refused.judgement.host.rejections.map(({ by, reason }: { by: string; reason: string }) => [by, reason]),
    ).toEqual([
      ['MemEncryptionModel', 'the kernel has it off: load kvm_amd with sev=1 and enable SME/SEV in the BIOS'],
      ['MachineType', 'default machine type is pc, an encrypted guest needs q35 and its image names none'],
      ['Resources', 'MEMORY_MB: 2080 asked, 0 of 1588 used (2100 in all, 512 reserved, ratio 1)'],
    ])
    expect((await lintJson(small, bios, ['--host', bad])).code).toBe(5)
  })

  it('takes a host as its worker would report it: the machine type, the UEFI files and the limits of its configuration', async () => {
    const env = {
      SEVBUS_FAKE_SEV_SLOTS: '15',
      SEVBUS_FAKE_SEV_ES_SLOTS: '4',
      SEVBUS_COMPUTE_HW_MACHINE_TYPE: 'x86_64=pc',
      SEVBUS_COMPUTE_UEFI_LOADER: '/code.fd',
      SEVBUS_COMPUTE_UEFI_NVRAM_TEMPLATE: '/vars.fd',
      SEVBUS_COMPUTE_NUM_MEMORY_ENCRYPTED_GUESTS: '3',
      SEVBUS_COMPUTE_NUM_SEV_ES_ENCRYPTED_GUESTS: '0',
    }
    const host = await hostFile('node7', env)
    const es = flavorFile('m1.es', { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-es' })

    const { capabilities } = JSON.parse(readFileSync(host, 'utf8'))
    const refused = await lintJson(es, uefi, ['--host', host], env)

    expect(capabilities).toEqual(await reportedBy('node7', env))
    expect(
      refused.judgement.host.rejections.map(({ by, reason }: { by: string; reason: string }) => [by, reason]),
    ).toEqual([
      ['MemEncryptionModel', 'compute.num_sev_es_encrypted_guests is 0: raise or remove it to offer SEV-ES'],
      ['MachineType', 'default machine type is pc, an encrypted guest needs q35 and its image names none'],
    ])
  })

  it('names the option that was set, when the simulated host has no such machine type', async () => {
    const { code, out } = await run(['host-capabilities'], { SEVBUS_COMPUTE_HW_MACHINE_TYPE: 'x86_64=pc-q35-99' })

    expect(code).toBe(2)
    expect(out).toContain('compute.hw_machine_type of x86_64 is pc-q35-99; the simulated host has q35, pc')
  })

  it('has an example of a host that is what host-capabilities writes', async () => {
    const host = await hostFile('milan-1', { SEVBUS_FAKE_SEV_SLOTS: '5', SEVBUS_FAKE_SEV_ES_SLOTS: '4' })

    expect(JSON.parse(readFileSync('examples/host.json', 'utf8'))).toEqual(JSON.parse(readFileSync(host, 'utf8')))
    expect((await lintJson(sev, uefi, ['--host', 'examples/host.json'])).code).toBe(0)
  })

  it('asks whether the host has what the image names, before any boot', async () => {
    const odd = file('odd.json', { name: 'linux', properties: { hw_disk_bus: 'ide' } })
    const { code, out } = await run(['lint', '--flavor', small, '--image', odd, '--host', 'examples/host.json'])

    expect(code).toBe(5)
    expect(out).toContain('refused by milan-1, DiskBus: has no disks on ide')
  })

  it('asks the domain builder too: what only the host would refuse is found before any boot', async () => {
    const odd = file('odd.json', { name: 'linux', properties: { hw_cdrom_bus: 'ide' } })
    const args = ['lint', '--flavor', small, '--image', odd, '--host', 'examples/host.json']
    const { code, out } = await run(args, { SEVBUS_COMPUTE_FORCE_CONFIG_DRIVE: 'true' })

    expect(code).toBe(5)
    expect(out).toContain('refused by milan-1, HOST_CAPABILITY_MISSING: hw_cdrom_bus is ide, but q35')
  })

  it('takes wrong words and files for a mistake, which is no refusal', async () => {
    expect((await run(['lint', '--flavor', sev])).code).toBe(2)
    expect((await run(['lint', '--flavor', 'nowhere.json', '--image', uefi])).code).toBe(2)
    const odd = await run(['lint', '--flavor', sev, '--image', uefi, '--host', uefi])
    expect(odd.code).toBe(2)
    expect(odd.out).toContain('is not a host')
    expect(odd.out).toContain('sevbus host-capabilities')
    const none = await run(['lint', '--flavor', sev, '--image', uefi, '--host', 'nowhere.json'])
    expect(none.code).toBe(2)
    expect(none.out).toContain('--host nowhere.json is no JSON file')
  })
})

describe('sevbus xml', () => {
  it('writes the domain that a host would be given, the same each time', async () => {
    const args = ['xml', '--flavor', sev, '--image', uefi, '--host', 'examples/host.json']
    const { code, out } = await run([...args, '--mac', '52:54:00:12:34:56', '--name', 'web', '--network', 'ovn'])

    expect(code).toBe(0)
    for (const part of [
      '<launchSecurity type="sev">',
      '<policy>0x0033</policy>',
      '<cbitpos>51</cbitpos>',
      '<sevbus:name>web</sevbus:name>',
      '<mac address="52:54:00:12:34:56"/>',
      '<source network="ovn"/>',
    ])
      expect(out).toContain(part)
    expect((await run(args)).out).toBe((await run(args)).out)
  })

  it('needs no host: every model is rendered as it would be where it is there', async () => {
    const stateless = file('stateless.json', {
      name: 'linux',
      properties: { hw_firmware_type: 'uefi', hw_machine_type: 'pc-q35-9.9', hw_firmware_stateless: true },
    })
    const snp = flavorFile('m1.snp', { 'hw:mem_encryption': '1', 'hw:mem_encryption_model': 'amd-sev-snp' })
    const { code, out } = await run(['xml', '--flavor', snp, '--image', stateless, '--json'])

    expect(code).toBe(0)
    const { xml } = JSON.parse(out)
    expect(xml).toContain('<policy>0x00030000</policy>')
    expect(xml).toContain('machine="pc-q35-9.9"')
    expect((await run(['xml', '--flavor', small, '--image', bios])).out).not.toContain('launchSecurity')
  })

  it("obeys the operator's limits for a host on paper, as a boot does", async () => {
    const none = { SEVBUS_COMPUTE_NUM_MEMORY_ENCRYPTED_GUESTS: '0' }
    const args = ['--flavor', sev, '--image', uefi, '--host', 'examples/host.json']

    const rendered = await run(['xml', ...args], none)
    const linted = await run(['lint', ...args, '--json'], none)

    expect([rendered.code, rendered.out]).toEqual([5, expect.stringContaining('num_memory_encrypted_guests is 0')])
    expect(linted.code).toBe(5)
    expect(JSON.parse(linted.out).host.rejections[0]).toMatchObject({
      by: 'MemEncryptionModel',
      reason: 'compute.num_memory_encrypted_guests is 0: raise or remove it to offer SEV',
    })
  })

  it('refuses what a boot would refuse, and words that mean nothing', async () => {
    const request = ['--flavor', sev, '--image', uefi]
    const refused = await run(['xml', '--flavor', sev, '--image', bios])
    expect([refused.code, refused.out]).toEqual([5, expect.stringContaining('error FLAVOR_IMAGE_CONFLICT:')])
    const elsewhere = await hostFile('plain-1', {})
    expect((await run(['xml', ...request, '--host', elsewhere])).code).toBe(5)
    const uuid = await run(['xml', ...request, '--uuid', 'mine'])
    expect([uuid.code, uuid.out]).toEqual([2, expect.stringContaining('--uuid is "mine"; write a uuid')])
    expect((await run(['xml', ...request, '--mac', '52:54'])).code).toBe(2)
    const multicast = await run(['xml', ...request, '--mac', '53:54:00:12:34:56'])
    expect([multicast.code, multicast.out]).toEqual([2, expect.stringContaining('an odd one is a multicast address')])
    const own = await run(['xml', ...request, '--uuid', '11111111-2222-4333-8444-555555555555'])
    expect(own.out).toContain('<uuid>11111111-2222-4333-8444-555555555555</uuid>')
  })
})
