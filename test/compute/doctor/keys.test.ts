import { describe, expect, it } from 'vitest'
import { keySplit } from '../../../src/compute/doctor/encryption-leaf.ts'
import { findingOf } from '../support/recorded-host.ts'
import { keysOf, libvirtSaying, milan, SILENT_LIBVIRT, WITHOUT_ENCRYPTION } from '../support/recorded-hosts.ts'

const leaf = {
  ...{ sme: true, sev: true, sevEs: true, sevSnp: true, vmpl: true, cBitPosition: 51, physAddrReduction: 5 },
  encryptedGuests: 509,
  minSevNoEsAsid: 100,
}

describe('the split of keys', () => {
  it.each([
    { ecx: 1006, edx: 253, split: { sev: 754, es: 252 } },
    { ecx: 509, edx: 100, split: { sev: 410, es: 99 } },
    { ecx: 15, edx: 1, split: { sev: 15, es: 0 } },
    { ecx: 15, edx: 0, split: { sev: 15, es: 0 } },
    { ecx: 99, edx: 100, split: { sev: 0, es: 99 } },
    { ecx: 99, edx: 500, split: { sev: 0, es: 99 } },
  ])('of $ecx keys, of which $edx is the first for SEV, is $split', ({ ecx, edx, split }) => {
    expect(keySplit({ ...leaf, encryptedGuests: ecx, minSevNoEsAsid: edx })).toEqual(split)
  })

  it('is told with its arithmetic', async () => {
    expect(await findingOf('asid_split', milan())).toEqual({
      verdict: 'pass',
      value: '754 for SEV, 252 for SEV-ES and SEV-SNP',
      meaning:
        'ECX = 1006 keys, EDX = 253 is the first for SEV; SEV has EDX..ECX = 253..1006: 1006 - 253 + 1 = 754; SEV-ES and SEV-SNP share 1..EDX-1 = 1..252: 253 - 1 = 252',
      fix: null,
    })
  })

  it('names the setting of the BIOS that leaves none for SEV-ES and SEV-SNP', async () => {
    expect(await findingOf('asid_split', milan({ cpuid: keysOf(509, 1) }), { required: ['amd-sev-snp'] })).toEqual({
      verdict: 'fail',
      value: '509 for SEV, 0 for SEV-ES and SEV-SNP',
      meaning:
        'ECX = 509 keys, EDX = 1 is the first for SEV; SEV has EDX..ECX = 1..509: 509 - 1 + 1 = 509; nothing is below it for SEV-ES and SEV-SNP: 1 - 1 = 0; SEV-SNP is required of this host',
      fix: 'BIOS: raise "SEV-ES ASID space limit" ("Minimum SEV non-ES ASID"), then cold boot',
    })
  })

  it('names it where it leaves none for SEV', async () => {
    const host = milan({ cpuid: keysOf(99, 100), libvirt: libvirtSaying({ keys: [0, 99] }) })

    expect(await findingOf('asid_split', host)).toEqual({
      verdict: 'warn',
      value: '0 for SEV, 99 for SEV-ES and SEV-SNP',
      meaning:
        'ECX = 99 keys, EDX = 100 is the first for SEV; EDX is above ECX, which leaves none for SEV; SEV-ES and SEV-SNP share 1..99: no key is above 99; flavors of the configuration ask for SEV',
      fix: 'BIOS: lower "SEV-ES ASID space limit" ("Minimum SEV non-ES ASID"), then cold boot',
    })
  })

  it('is not told by heart where the leaf cannot be read: libvirt is named as who says it', async () => {
    expect(await findingOf('asid_split', milan({ cpuid: undefined }))).toEqual({
      verdict: 'warn',
      value: 'cannot be told',
      meaning: '/dev/cpu/0/cpuid is not there. libvirt tells 754 for SEV, 252 for SEV-ES and SEV-SNP.',
      fix: 'load the module and run as root: modprobe cpuid && sudo sevbus doctor',
    })
    expect((await findingOf('asid_split', milan({ cpuid: null, libvirt: SILENT_LIBVIRT }))).meaning).toBe(
      '/dev/cpu/0/cpuid: not allowed (EACCES).',
    )
  })

  it('is of no leaf that the processor does not have, whatever is read at its number', async () => {
    expect(await findingOf('asid_split', milan({ cpuid: WITHOUT_ENCRYPTION }))).toMatchObject({ verdict: 'skip' })
  })
})

describe('the keys as the kernel counts them', () => {
  it('are those of the split', async () => {
    expect(await findingOf('kernel_keys', milan())).toEqual({
      verdict: 'pass',
      value: 'misc.capacity and misc.current: 0 of 754 SEV, 0 of 252 SEV-ES and SEV-SNP',
      meaning: 'as the split says',
      fix: null,
    })
  })

  it('may all be in use', async () => {
    const files = { 'sys/fs/cgroup/misc.current': 'sev 754\nsev_es 0\n' }

    expect(await findingOf('kernel_keys', milan({ files }))).toMatchObject({
      verdict: 'warn',
      meaning: 'all keys for SEV are in use: no further guest starts',
    })
  })

  it('may be others than the processor has', async () => {
    const files = { 'sys/fs/cgroup/misc.capacity': 'sev 509\nsev_es 252\n' }

    expect(await findingOf('kernel_keys', milan({ files }))).toMatchObject({
      verdict: 'warn',
      meaning: 'the kernel counts otherwise than the processor: 754 SEV, 252 SEV-ES and SEV-SNP',
    })
  })

  it('of a kind that a parameter switches off are none, which is no contradiction', async () => {
    const files = { 'sys/fs/cgroup/misc.capacity': 'sev 754\n' }

    expect(await findingOf('kernel_keys', milan({ files }))).toMatchObject({ verdict: 'pass' })
  })

  it('are none where the module offers none', async () => {
    const files = { 'sys/fs/cgroup/misc.capacity': 'rdma 4\n' }

    expect(await findingOf('kernel_keys', milan({ files }))).toMatchObject({
      verdict: 'warn',
      fix: 'load kvm_amd with sev=1',
    })
    expect(await findingOf('kernel_keys', milan({ files, cpuid: WITHOUT_ENCRYPTION }))).toMatchObject({
      verdict: 'skip',
    })
  })

  it('are added up from the groups below the root by older kernels', async () => {
    const files: Readonly<Record<string, string | null>> = {
      ...milan().files,
      'sys/fs/cgroup/machine.slice/misc.current': 'sev 3\n',
      'sys/fs/cgroup/system.slice/misc.current': 'sev 1\nsev_es 2\n',
    }
    const { 'sys/fs/cgroup/misc.current': _, ...older } = files

    expect((await findingOf('kernel_keys', { ...milan(), files: older })).value).toBe(
      'misc.capacity and misc.current: 4 of 754 SEV, 2 of 252 SEV-ES and SEV-SNP',
    )
  })

  it('are told without their use where nothing tells that', async () => {
    const { 'sys/fs/cgroup/misc.current': _, ...files } = milan().files

    expect((await findingOf('kernel_keys', { ...milan(), files })).value).toBe(
      'misc.capacity: 754 SEV, 252 SEV-ES and SEV-SNP',
    )
  })
})

describe('the keys as libvirt counts them', () => {
  it('may be those of before a change of the BIOS', async () => {
    expect(await findingOf('libvirt_keys', milan({ libvirt: libvirtSaying({ keys: [1006, 0] }) }))).toEqual({
      verdict: 'warn',
      value: 'maxGuests 1006, maxESGuests 0',
      meaning: 'the processor has 754 and 252: libvirt remembers what was before a change of the BIOS',
      fix: 'rm /var/cache/libvirt/qemu/capabilities/*.xml && systemctl restart libvirtd',
    })
  })

  it('are compared with nothing where the leaf cannot be read, and with none where libvirt has none', async () => {
    expect(await findingOf('libvirt_keys', milan({ cpuid: null }))).toMatchObject({ verdict: 'pass' })
    expect(await findingOf('libvirt_keys', milan({ libvirt: libvirtSaying({ keys: undefined }) }))).toMatchObject({
      verdict: 'skip',
    })
  })

  it('are not judged where libvirt does not answer', async () => {
    expect(await findingOf('libvirt_keys', milan({ libvirt: SILENT_LIBVIRT }))).toMatchObject({
      verdict: 'skip',
      meaning: 'libvirt does not answer',
    })
  })

  it('come with the C-bit that domains are made with', async () => {
    expect(await findingOf('c_bit', milan({ libvirt: libvirtSaying({ cbitpos: 47 }) }))).toMatchObject({
      verdict: 'fail',
      meaning: 'the processor has it at 51: QEMU refuses to start guests',
    })
    expect(await findingOf('c_bit', milan({ cpuid: null }))).toMatchObject({ verdict: 'pass' })
  })
})
