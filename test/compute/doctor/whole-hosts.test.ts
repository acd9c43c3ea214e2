import { describe, expect, it } from 'vitest'
import { checksWith, findingsOf } from '../support/recorded-host.ts'
import { intel, keysOf, libvirtSaying, milan } from '../support/recorded-hosts.ts'

const SNP_FILES = {
  'sys/module/kvm_amd/parameters/sev_snp': 'Y\n',
  'sys/fs/cgroup/misc.current': 'sev 3\nsev_es 2\n',
}

describe('what doctor finds on a whole host', () => {
  it('is nothing to mend on one that is set up for SEV and SEV-ES', async () => {
    const findings = await findingsOf(milan())

    expect(checksWith('fail', findings)).toEqual([])
    expect(checksWith('warn', findings)).toEqual([])
    expect(checksWith('skip', findings)).toEqual(['kvm_amd_sev_snp', 'network', 'offers_amd_sev_snp'])
    expect(findings.length).toBe(41)
  })

  it('has something to do wherever it is no pass, and nothing where it is', async () => {
    for (const host of [milan(), intel(), milan({ cpuid: undefined, files: { 'proc/meminfo': null } })]) {
      for (const { check, verdict, value, meaning, fix } of await findingsOf(host)) {
        expect([check, fix !== null]).toEqual([check, verdict === 'warn' || verdict === 'fail'])
        expect([check, value !== '' && meaning !== '']).toEqual([check, true])
      }
    }
  })

  it('has each check once, so that programs find it', async () => {
    for (const host of [milan(), intel()]) {
      const names = (await findingsOf(host)).map(({ check }) => check)
      expect(names.toSorted()).toEqual([...new Set(names)].toSorted())
    }
  })

  it('is no failure on a host with SEV-SNP, which has no SEV-ES then', async () => {
    const findings = await findingsOf(milan({ files: SNP_FILES }), {
      guests: [
        { flavor: 'm1.sev-es', memoryMb: 512, model: 'amd-sev-es' },
        { flavor: 'm1.sev-snp', memoryMb: 512, model: 'amd-sev-snp' },
      ],
    })

    expect(checksWith('fail', findings)).toEqual([])
    expect(checksWith('warn', findings)).toEqual([])
    expect(findings.find(({ check }) => check === 'offers_amd_sev_es')).toMatchObject({
      verdict: 'skip',
      value: 'no',
      meaning: expect.stringMatching(/CVE-2025-48514.*; the host offers SEV-SNP, and runs one of the two$/),
    })
  })

  it('is that nothing is there on a virtual machine of another vendor, whatever its KVM is able to do', async () => {
    const findings = await findingsOf(intel())

    expect(checksWith('fail', findings)).toEqual(['processor', 'cpuid_leaf', 'kvm_amd', 'dev_sev', 'libvirt'])
    expect(checksWith('pass', findings)).toEqual([
      'kernel',
      'iommu',
      'dev_kvm',
      'disk_tools',
      'instances_path',
      'huge_pages',
      'overcommit_memory',
      'panic_on_oom',
      'ksm',
      'swap',
    ])
  })

  it('is a warning, and never a pass, where the processor, the keys and the daemon may not be looked at', async () => {
    const hidden = {
      'sys/fs/cgroup/misc.capacity': null,
      'proc/741/limits': null,
      'proc/swaps': null,
      'proc/cpuinfo': null,
      'sys/module/kvm_amd/parameters/sev': null,
    }
    const findings = await findingsOf(milan({ cpuid: null, files: hidden }))

    expect(checksWith('warn', findings)).toEqual([
      'processor',
      'cpuid_leaf',
      'bios_encryption',
      'asid_split',
      'kvm_amd_sev',
      'kernel_keys',
      'memlock',
      'swap',
    ])
  })

  it('is a failure for a model that the host must have, a warning for one that flavors ask for, else no matter', async () => {
    const naples = milan({
      cpuid: keysOf(15, 1, 0b1111),
      files: {
        'sys/module/kvm_amd/parameters/sev_es': 'N\n',
        'sys/fs/cgroup/misc.capacity': 'sev 15\nsev_es 0\n',
        'sys/fs/cgroup/misc.current': 'sev 0\nsev_es 0\n',
      },
      libvirt: libvirtSaying({ keys: [15, 0] }),
    })
    const guests = [
      { flavor: 'm1.sev', memoryMb: 512, model: 'amd-sev' },
      { flavor: 'm1.sev-es', memoryMb: 512, model: 'amd-sev-es' },
    ] as const

    const ofNobody = await findingsOf(naples)
    const ofFlavors = await findingsOf(naples, { guests })
    const ofOperator = await findingsOf(naples, { required: ['amd-sev-es'] })

    const about = ['asid_split', 'kvm_amd_sev_es', 'offers_amd_sev_es']
    expect([checksWith('warn', ofNobody), checksWith('fail', ofNobody)]).toEqual([[], []])
    expect([checksWith('warn', ofFlavors), checksWith('fail', ofFlavors)]).toEqual([about, []])
    expect([checksWith('warn', ofOperator), checksWith('fail', ofOperator)]).toEqual([[], about])
  })
})
