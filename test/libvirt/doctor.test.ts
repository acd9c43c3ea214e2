import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Diagnosis } from '../../src/cli/diagnosis.ts'
import { whyNoSevLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'
import { canEmulate } from '../servers/sev-host.ts'
import { SevbusProcess } from '../support/sevbus-process.ts'

const missing = await whyNoSevLibvirt()
if (missing) notRun({ name: 'doctor on an emulated SEV host', ...missing })
const isRun =
  missing === undefined &&
  canEmulate('doctor on an emulated SEV host', 'the numbers that it finds are those of the emulation')

describe.runIf(isRun)('doctor on an emulated SEV host', () => {
  let host: PrivateLibvirt

  beforeAll(async () => {
    host = await startLibvirt({ name: 'epyc-1', sev: { max_asid: 15, min_sev_asid: 5 } })
  })

  afterAll(async () => {
    await host?.stop()
  })

  async function diagnosis() {
    const env = {
      SEVBUS_COMPUTE_DRIVER: 'libvirt',
      SEVBUS_COMPUTE_NETWORK: 'none',
      SEVBUS_COMPUTE_HW_MACHINE_TYPE: 'x86_64=q35',
      SEVBUS_LIBVIRT_URI: host.uri,
      SEVBUS_LIBVIRT_HOST_ROOT: host.root,
    }
    const process = new SevbusProcess(['--timeout', '60', 'doctor', '--json'], env)
    const code = await process.exited()
    const { findings } = JSON.parse(process.output) as Diagnosis
    return { code, of: new Map(findings.map((finding) => [finding.check, finding])) }
  }

  it('finds all that guests with SEV and SEV-ES need, and that no secure processor is behind it', async () => {
    const { code, of } = await diagnosis()
    const checks = [
      'asid_split',
      'kernel_keys',
      'libvirt_sev',
      'libvirt_keys',
      'c_bit',
      'dev_sev',
      'q35',
      'default_machine_type',
    ]
    const all = [
      ...checks,
      'firmware_amd_sev',
      'firmware_amd_sev_es',
      'offers_amd_sev',
      'offers_amd_sev_es',
      'offers_amd_sev_snp',
    ]

    expect(Object.fromEntries(all.map((check) => [check, of.get(check)?.verdict]))).toEqual({
      asid_split: 'pass',
      kernel_keys: 'pass',
      libvirt_sev: 'pass',
      libvirt_keys: 'pass',
      c_bit: 'pass',
      dev_sev: 'fail',
      q35: 'pass',
      default_machine_type: 'pass',
      firmware_amd_sev: 'pass',
      firmware_amd_sev_es: 'pass',
      offers_amd_sev: 'pass',
      offers_amd_sev_es: 'pass',
      offers_amd_sev_snp: 'skip',
    })
    expect(of.get('asid_split')).toMatchObject({
      value: '11 for SEV, 4 for SEV-ES and SEV-SNP',
      meaning:
        'ECX = 15 keys, EDX = 5 is the first for SEV; SEV has EDX..ECX = 5..15: 15 - 5 + 1 = 11; SEV-ES and SEV-SNP share 1..EDX-1 = 1..4: 5 - 1 = 4',
    })
    expect(of.get('kernel_keys')?.value).toBe('misc.capacity and misc.current: 0 of 11 SEV, 0 of 4 SEV-ES and SEV-SNP')
    expect(of.get('libvirt_keys')?.value).toBe('maxGuests 11, maxESGuests 4')
    expect(of.get('dev_sev')?.value).toMatch(/^character device 1:3/)
    expect(code).toBe(1)
  })
})
