import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type Diagnosis, diagnosisOf } from '../../src/cli/diagnosis.ts'
import { diagnosisText } from '../../src/cli/doctor-view.ts'
import { wrapped } from '../../src/cli/wrapped.ts'
import { loadConfig } from '../../src/config.ts'
import { findingsOf } from '../compute/support/recorded-host.ts'
import { intel, milan } from '../compute/support/recorded-hosts.ts'
import { runHere } from '../support/run-here.ts'
import { runSevbus } from '../support/sevbus-process.ts'

type Env = Readonly<Record<string, string>>
type Run = (args: readonly string[], env?: Env) => ReturnType<typeof runSevbus>

async function doctor(args: readonly string[], env: Env = {}) {
  return await runHere(['doctor', ...args], env)
}

/** @param run in this process, or as a program of its own */
async function diagnosis(args: readonly string[], env: Env = {}, run: Run = doctor) {
  const { code, out } = await run([...args, '--json'], env)
  return { code, found: JSON.parse(out) as Diagnosis }
}

/** A folder that stands in for `/` of a host, with these files. */
function rootWith(files: Readonly<Record<string, string | null>>): string {
  const root = mkdtempSync(join(tmpdir(), 'sevbus-root-'))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text ?? '')
  }
  return root
}

/** Nobody listens there. */
const NO_LIBVIRT = { SEVBUS_LIBVIRT_URI: 'qemu:///system?socket=/nowhere/libvirt-sock' }

describe('sevbus doctor', () => {
  it('tells of this machine what is true, without a broker, a database and a configuration', async () => {
    const { code, found } = await diagnosis([], NO_LIBVIRT, (args, env = {}) => runSevbus(['doctor', ...args], env))
    const verdicts = Object.fromEntries(found.findings.map(({ check, verdict }) => [check, verdict]))

    expect([code, found.verdict, found.driver]).toEqual([1, 'fail', 'libvirt'])
    expect(verdicts).toMatchObject({ libvirt: 'fail', offers_amd_sev: 'skip', compute_driver: 'warn' })
    expect(verdicts.dev_sev).toBe(existsSync('/dev/sev') ? 'pass' : 'fail')
    expect(verdicts.kvm_amd).toBe(existsSync('/sys/module/kvm_amd') ? 'pass' : 'fail')
    expect(found.counts.fail).toBe(found.findings.filter(({ verdict }) => verdict === 'fail').length)
  })

  it('reads a host elsewhere where the configuration says so', async () => {
    const root = rootWith(milan().files)
    const env = { ...NO_LIBVIRT, SEVBUS_LIBVIRT_HOST_ROOT: root, SEVBUS_COMPUTE_DRIVER: 'libvirt' }
    const { found } = await diagnosis(['--host', 'epyc-1'], env)
    const values = Object.fromEntries(found.findings.map(({ check, verdict, value }) => [check, [verdict, value]]))

    expect(found.host).toBe('epyc-1')
    expect(values).toMatchObject({
      processor: ['pass', 'AuthenticAMD, AMD EPYC 7763 64-Core Processor, family 25'],
      bios_encryption: ['pass', 'the kernel shows sme, sev, sev_es, sev_snp'],
      asid_split: ['warn', 'cannot be told'],
      kernel_keys: ['pass', 'misc.capacity and misc.current: 0 of 754 SEV, 0 of 252 SEV-ES and SEV-SNP'],
      dev_sev: ['fail', 'not there'],
      compute_driver: ['pass', 'libvirt'],
    })
  })

  it('judges a simulated host by its slots and its memory, with the flavors of the configuration', async () => {
    const env = { SEVBUS_FAKE_SEV_SLOTS: '15', SEVBUS_FAKE_MEMORY_MB: '16384' }
    const { code, found } = await diagnosis(['--config', 'compose.toml'], env)
    const { code: must } = await diagnosis(['--config', 'compose.toml', '--model', 'amd-sev-snp'], env)

    expect([code, found.driver, found.uri]).toEqual([0, 'fake', null])
    expect(found.findings.map(({ check, verdict, value }) => [check, verdict, value])).toEqual([
      ['memory_for_slots', 'warn', '31200 of 15872 MiB'],
      ['offers_amd_sev', 'pass', '15 slots'],
      ['offers_amd_sev_es', 'warn', 'no'],
      ['offers_amd_sev_snp', 'warn', 'no'],
    ])
    expect(must).toBe(1)
  })

  it('looks at the machine, or at the simulated host, as it is told', async () => {
    const simulated = { SEVBUS_FAKE_SEV_SLOTS: '15', ...NO_LIBVIRT }

    expect((await diagnosis(['--driver', 'libvirt'], simulated)).found.driver).toBe('libvirt')
    expect((await diagnosis(['--driver', 'fake'])).found.driver).toBe('fake')
    expect((await doctor(['--driver', 'xen'])).code).toBe(2)
    expect((await doctor(['--model', 'amd-sev-tdx'])).code).toBe(2)
  })
})

describe('the diagnosis as people read it', () => {
  const config = loadConfig({ env: {}, host: 'epyc-1' })
  const of = async (host: Parameters<typeof findingsOf>[0]) =>
    diagnosisOf(config, 'libvirt', [{ group: 'everything', findings: await findingsOf(host) }])
  const linesOf = (found: Diagnosis, columns: number | undefined) =>
    stripVTControlCharacters(diagnosisText(found, columns)).split('\n')

  it.each([60, 80, 120])('fits into %i columns', async (columns) => {
    const found = await of(intel())
    const tooLong = linesOf(found, columns).filter((line) => line.length > columns)

    // A word that is longer stays whole, so that it can be copied.
    expect(tooLong.filter((line) => !/^ *\S+$/.test(line))).toEqual([])
  })

  it('has no longer lines on wide terminals, and some width without one', async () => {
    const found = await of(intel())

    expect(Math.max(...linesOf(found, 400).map(({ length }) => length))).toBeLessThanOrEqual(120)
    expect(Math.max(...linesOf(found, undefined).map(({ length }) => length))).toBeLessThanOrEqual(100)
  })

  it('has the fix under what needs one, and one line for what is well', async () => {
    const lines = linesOf(await of(intel()), 120)
    const at = lines.findIndex((line) => line.startsWith('  FAIL  /dev/sev'))

    expect(lines.slice(at, at + 3)).toEqual([
      '  FAIL  /dev/sev: not there',
      "        the kernel has no way to AMD's secure processor (PSP)",
      '        fix: nothing to do here: there is none beside this processor',
    ])
    expect(lines).toContain('  pass  /dev/kvm: character device 10:232, mode 0660 – the kernel runs guests')
  })

  it('ends with the sum of it', async () => {
    expect(linesOf(await of(intel()), 120).slice(-2)).toEqual([
      '5 failed, 1 to look at, 10 passed, 17 not judged',
      'Not fit for encrypted guests: mend the first failure first.',
    ])
    expect(linesOf(await of(milan()), 120).at(-1)).toBe('All is as encrypted guests need it.')
    expect(linesOf(await of(milan({ cpuid: null })), 120).at(-1)).toBe(
      'Encrypted guests can run here; look at the warnings.',
    )
  })
})

describe('wrapped text', () => {
  it('is broken between words, and a longer word stays whole', () => {
    expect(wrapped('one two  three', 7)).toEqual(['one two', 'three'])
    expect(wrapped('one /a/very/long/path two', 7)).toEqual(['one', '/a/very/long/path', 'two'])
    expect(wrapped('', 7)).toEqual([''])
  })
})
