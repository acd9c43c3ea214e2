import { describe, expect, it } from 'vitest'
import { NO_FIRMWARE_FILES } from '../../../src/compute/libvirt/domain-options.ts'
import { LibvirtError } from '../../../src/errors.ts'
import { abortable } from '../../../src/rpc/abortable.ts'
import { aDescriptor } from '../support/firmware-descriptors.ts'
import { DOCTOR_OPTIONS, findingOf, findingsOf, type RecordedHost } from '../support/recorded-host.ts'
import { intel, keysOf, libvirtSaying, milan, SILENT_LIBVIRT } from '../support/recorded-hosts.ts'

const CPUINFO = milan().files['proc/cpuinfo'] as string
const { hostOptions } = DOCTOR_OPTIONS

function without(...paths: readonly string[]) {
  const files = Object.entries(milan().files).filter(([path]) => !paths.some((part) => path.startsWith(part)))
  return { ...milan(), files: Object.fromEntries(files) }
}

describe('processor and BIOS', () => {
  it('is told as it calls itself', async () => {
    expect(await findingOf('processor', milan())).toMatchObject({
      verdict: 'pass',
      value: 'AuthenticAMD, AMD EPYC 7763 64-Core Processor, family 25',
    })
    expect(await findingOf('processor', intel())).toEqual({
      verdict: 'fail',
      value: 'GenuineIntel, Intel(R) Xeon(R) Processor, family 6, itself a virtual machine',
      meaning: "SEV is AMD's: this processor has none",
      fix: 'take an EPYC host; without one, sevbus runs on simulated hosts, or on an emulated one (sev-emulator/)',
    })
  })

  it('sees through what emulates SEV on another processor', async () => {
    const emulated = { ...milan({ files: { 'proc/cpuinfo': intel().files['proc/cpuinfo'] as string } }) }
    const device = { isCharacter: true, major: 1, minor: 3, mode: '0666' }

    expect((await findingOf('processor', emulated)).meaning).toBe(
      "SEV is AMD's, yet libvirt reports it here: something emulates it, and nothing is encrypted",
    )
    expect(await findingOf('dev_sev', { ...milan(), devices: { 'dev/sev': device } })).toEqual({
      verdict: 'fail',
      value: 'character device 1:3, mode 0666',
      meaning: 'not the secure processor: its device has major number 10. Whatever answers there encrypts nothing',
      fix: 'end the emulation (sev-emulator/) where guests matter; rm /dev/sev, and load ccp anew',
    })
    const file = { ...device, isCharacter: false, mode: '0644' }
    expect((await findingOf('dev_sev', { ...milan(), devices: { 'dev/sev': file } })).value).toBe(
      'no device, mode 0644',
    )
  })

  it('lets QEMU open /dev/kvm, which is another user under libvirt', async () => {
    const kvm = { isCharacter: true, major: 10, minor: 232, mode: '0600' }
    const devices = (changes: object) => ({ devices: { ...milan().devices, 'dev/kvm': { ...kvm, ...changes } } })
    const verdict = async (host: RecordedHost) => (await findingOf('dev_kvm', host)).verdict

    expect(await findingOf('dev_kvm', { ...intel(), ...devices({}) })).toEqual({
      verdict: 'warn',
      value: 'character device 10:232, mode 0600',
      meaning: 'its owner alone may open it: QEMU, which has a user of its own under libvirt, has no KVM then',
      fix: 'chgrp kvm /dev/kvm; chmod 660 /dev/kvm; and QEMU in that group (udev rules of its package do both)',
    })
    expect(await verdict({ ...intel(), ...devices({ mode: '0660' }) })).toBe('pass')
    // There it has opened it.
    expect(await verdict({ ...milan(), ...devices({}) })).toBe('pass')
    expect(await verdict({ ...milan(), ...devices({ major: 1 }) })).toBe('fail')
    expect(await verdict({ ...milan(), ...devices({ isCharacter: false }) })).toBe('fail')
  })

  it('is able to do what the leaf says', async () => {
    expect((await findingOf('cpuid_leaf', milan())).value).toBe(
      'SME, SEV, SEV-ES, SEV-SNP, VMPL; C-bit 51, 5 address bits fewer',
    )
    expect(await findingOf('cpuid_leaf', milan({ cpuid: keysOf(0, 0, 0) }))).toMatchObject({
      verdict: 'fail',
      value: 'nothing; C-bit 51, 5 address bits fewer',
    })
    const naples = milan({ cpuid: keysOf(15, 1, 0b0011) })
    expect(await findingOf('cpuid_sev_es', naples)).toMatchObject({ verdict: 'skip', value: 'no SEV-ES' })
    expect(await findingOf('cpuid_sev_snp', naples, { required: ['amd-sev-snp'] })).toMatchObject({ verdict: 'fail' })
  })

  it('may have SEV off in the BIOS, which the flags of the kernel tell', async () => {
    const files = { 'proc/cpuinfo': CPUINFO.replace(' sme sev sev_es sev_snp', '') }

    expect(await findingOf('bios_encryption', milan({ files }))).toEqual({
      verdict: 'fail',
      value: 'the kernel shows none of sme, sev, sev_es, sev_snp',
      meaning: 'the processor has SEV, and the BIOS keeps it off, or the kernel is older than 4.16',
      fix: 'BIOS: enable SME (SMEE), SEV and the SMM lock, then cold boot',
    })
    expect((await findingOf('bios_encryption', milan({ files, cpuid: null }))).meaning).toBe(
      'off in the BIOS, or not in the processor (/dev/cpu/0/cpuid: not allowed (EACCES))',
    )
    expect(await findingOf('bios_encryption', milan({ cpuid: keysOf(0, 0, 0) }))).toMatchObject({ verdict: 'skip' })
  })

  it('of another vendor is known to have no SEV, whether or not this user may ask it', async () => {
    for (const check of ['cpuid_leaf', 'bios_encryption', 'asid_split', 'kernel_keys'])
      expect(await findingOf(check, { ...intel(), cpuid: null })).toEqual(await findingOf(check, intel()))
  })

  it('is unknown where /proc says something else than it should', async () => {
    expect(await findingOf('processor', milan({ files: { 'proc/cpuinfo': 'nothing\n' } }))).toMatchObject({
      verdict: 'warn',
      meaning: 'proc/cpuinfo: its content is not understood',
    })
  })
})

describe('the kernel', () => {
  it.each([
    ['6.12.9', 'pass', 'new enough for SEV, SEV-ES, SEV-SNP'],
    ['6.1.0-31-amd64', 'pass', 'new enough for SEV, SEV-ES; SEV-SNP needs 6.11'],
    ['5.10.0', 'pass', 'new enough for SEV; SEV-ES needs 5.11; SEV-SNP needs 6.11'],
    ['4.15.18', 'fail', 'SEV needs 4.16; SEV-ES needs 5.11; SEV-SNP needs 6.11'],
  ] as const)('%s is a %s', async (release, verdict, meaning) => {
    const host = milan({ files: { 'proc/sys/kernel/osrelease': `${release}\n` } })

    expect(await findingOf('kernel', host)).toMatchObject({ verdict, value: release, meaning })
  })

  it('that is too old for a model is as bad as that is wanted', async () => {
    const host = milan({ files: { 'proc/sys/kernel/osrelease': '5.10.0\n' } })
    const guests = [{ flavor: 'm1.sev-es', memoryMb: 512, model: 'amd-sev-es' }] as const

    expect(await findingOf('kernel', host)).toMatchObject({ verdict: 'pass' })
    expect(await findingOf('kernel', host, { guests })).toMatchObject({ verdict: 'warn' })
    expect(await findingOf('kernel', host, { required: ['amd-sev-snp'] })).toMatchObject({
      verdict: 'fail',
      fix: 'update it to 6.11 or later, for SEV-SNP',
    })
  })

  it('may have no module for it, or SEV switched off', async () => {
    expect(await findingOf('kvm_amd', without('sys/module/kvm_amd'))).toMatchObject({
      verdict: 'fail',
      fix: 'enable SVM in the BIOS, then: modprobe kvm_amd sev=1 sev_es=1',
    })
    const off = milan({ files: { 'sys/module/kvm_amd/parameters/sev': '0\n' } })
    expect(await findingOf('kvm_amd_sev', off)).toMatchObject({ verdict: 'fail', value: '0' })
    expect(await findingOf('kvm_amd_sev_snp', without('sys/module/kvm_amd/parameters/sev_snp'))).toMatchObject({
      verdict: 'skip',
      value: 'not there: the kernel does not know it',
    })
  })

  it('needs devices in the tables of the IOMMU for SEV-SNP alone', async () => {
    const past = { 'proc/cmdline': 'quiet iommu=pt amd_iommu=on\n' }
    const snp = { 'sys/module/kvm_amd/parameters/sev_snp': 'Y\n' }

    expect(await findingOf('iommu', milan({ files: past }))).toMatchObject({ verdict: 'skip', value: 'iommu=pt' })
    expect(await findingOf('iommu', milan({ files: past }), { required: ['amd-sev-snp'] })).toMatchObject({
      verdict: 'fail',
      fix: "remove iommu=pt from the kernel's command line, and reboot",
    })
    expect(await findingOf('iommu', milan({ files: { ...past, ...snp } }))).toMatchObject({ verdict: 'warn' })
  })

  it('may have no way to the secure processor, or to KVM', async () => {
    expect(await findingOf('dev_sev', { ...milan(), devices: {} })).toMatchObject({
      verdict: 'fail',
      value: 'not there',
      fix: expect.stringMatching(/^BIOS: enable the PSP; modprobe ccp;/),
    })
    expect(await findingOf('dev_kvm', { ...milan(), devices: {} })).toMatchObject({ verdict: 'fail' })
    const qemu = { hostOptions: { ...hostOptions, virtType: 'qemu' } } as const
    expect(await findingOf('dev_kvm', milan(), qemu)).toMatchObject({ verdict: 'fail', value: 'not used' })
  })

  it('is unknown where nothing of it may be read', async () => {
    const files = { 'proc/sys/kernel/osrelease': null, 'proc/cmdline': null }

    for (const check of ['kernel', 'iommu']) {
      expect(await findingOf(check, milan({ files }))).toMatchObject({ verdict: 'warn', value: 'cannot be told' })
    }
  })
})

describe('libvirt and QEMU', () => {
  it('may not answer, and why is told with what to do', async () => {
    expect(await findingOf('libvirt', milan({ libvirt: SILENT_LIBVIRT }))).toEqual({
      verdict: 'fail',
      value: 'no answer',
      meaning: 'libvirt cannot be reached: connect ENOENT',
      fix: 'start libvirtd',
    })
  })

  it('may hang: it is not waited for any longer than was said', async () => {
    const never = new Promise<never>(() => {})
    const nodeGetInfo = (limits?: { readonly signal?: AbortSignal | undefined }) => abortable(never, limits?.signal)
    const patience = new AbortController()
    const waiting = findingsOf(milan({ libvirt: { ...libvirtSaying(), nodeGetInfo } }), {}, patience.signal)
    patience.abort()

    expect((await waiting).find(({ check }) => check === 'libvirt')).toMatchObject({
      verdict: 'fail',
      meaning: 'it was asked, and did not answer in time (--timeout)',
    })
  })

  it('are judged by their versions', async () => {
    const old = milan({ libvirt: libvirtSaying({ version: 9_000_000, qemu: 7_002_022, hasSnp: false }) })

    expect(await findingOf('libvirt_version', old)).toMatchObject({ verdict: 'pass', value: '9.0.0' })
    expect(await findingOf('qemu_version', old)).toMatchObject({ verdict: 'pass', value: '7.2.22' })
    expect(await findingOf('libvirt_snp', old, { required: ['amd-sev-snp'] })).toEqual({
      verdict: 'fail',
      value: 'launch security sev',
      meaning: 'no SEV-SNP by libvirt and QEMU; SEV-SNP is required of this host',
      fix: 'take libvirt 10.5 and QEMU 9.1, or later',
    })
  })

  it('may find no SEV', async () => {
    expect(await findingOf('libvirt_sev', milan({ libvirt: libvirtSaying({ keys: undefined }) }))).toMatchObject({
      verdict: 'fail',
      value: 'not supported',
    })
    const silent = { ...libvirtSaying(), connectGetDomainCapabilities: refusal(67) }
    expect(await findingOf('libvirt_sev', milan({ libvirt: silent }))).toMatchObject({
      value: 'no domain capabilities',
    })
  })

  it('need a daemon that may let guests lock their memory', async () => {
    const bound = { 'proc/741/status': 'CapEff:\t0000000000000000\n' }
    const inside = { 'proc/741/uid_map': '         0       1000          1\n' }
    const value = 'limit of libvirtd (741): 8 MiB'

    expect(await findingOf('memlock', milan())).toMatchObject({ verdict: 'pass', value })
    for (const files of [bound, inside]) {
      expect(await findingOf('memlock', milan({ files }))).toMatchObject({
        verdict: 'fail',
        value,
        meaning: 'it may not raise limits, and the largest guest needs 544 MiB: it does not start',
      })
    }
    expect(await findingOf('memlock', milan({ files: bound }), { guests: [] })).toMatchObject({ verdict: 'warn' })
    expect(await findingOf('memlock', milan({ files: bound }), { overheadMb: 0, guests: [] })).toMatchObject({
      verdict: 'warn',
    })
    const free = { ...bound, 'proc/741/limits': 'Max locked memory   unlimited   unlimited   bytes\n' }
    expect(await findingOf('memlock', milan({ files: free }))).toMatchObject({
      verdict: 'pass',
      value: 'limit of libvirtd (741): none',
    })
    const enough = { ...bound, 'proc/741/limits': 'Max locked memory   8388608   8589934592   bytes\n' }
    expect(await findingOf('memlock', milan({ files: enough }))).toMatchObject({ verdict: 'pass' })
    expect(await findingOf('memlock', without('proc/741'))).toMatchObject({
      verdict: 'warn',
      meaning: 'a process virtqemud or libvirtd is not there',
    })
  })

  it('have the weakest of several daemons judged', async () => {
    const second = {
      'proc/800/comm': 'virtqemud\n',
      'proc/800/limits': 'Max locked memory   65536   65536   bytes\n',
      'proc/800/status': 'CapEff:\t0000000000000000\n',
      'proc/800/uid_map': '0 0 4294967295\n',
    }

    expect((await findingOf('memlock', milan({ files: second }))).value).toBe(
      'limit of virtqemud (800), the weakest of 2: 0 MiB',
    )
  })
})

describe("guests' machine", () => {
  it('is judged by what libvirt offers', async () => {
    const pc = { hostOptions: { ...hostOptions, machineTypeOf: () => 'pc' } }

    expect(await findingOf('q35', milan())).toMatchObject({ verdict: 'pass', value: 'pc-q35-10.0' })
    expect(await findingOf('q35', milan({ libvirt: SILENT_LIBVIRT }))).toMatchObject({ verdict: 'skip' })
    expect(await findingOf('default_machine_type', milan(), pc)).toMatchObject({ verdict: 'warn', value: 'pc' })
    expect(await findingOf('boot_disk_bus', milan({ libvirt: libvirtSaying({ disks: ['sata'] }) }))).toMatchObject({
      verdict: 'fail',
      value: 'sata',
    })
  })

  it('may have no q35', async () => {
    const capabilities = (await libvirtSaying().connectGetCapabilities()).replaceAll('q35', 'i440fx')
    const libvirt = { ...libvirtSaying(), connectGetCapabilities: async () => capabilities }

    expect(await findingOf('q35', milan({ libvirt }))).toMatchObject({ verdict: 'fail', value: 'not there' })
  })

  it.each([
    [{ kind: 'network', network: 'default' }, true, 'pass', 'default: active'],
    [{ kind: 'network', network: 'default' }, false, 'fail', 'default: not active'],
    [{ kind: 'network', network: 'blue' }, new Error('no network blue'), 'fail', 'blue: unknown to libvirt'],
    [{ kind: 'bridge', bridge: 'br0' }, true, 'skip', 'bridge br0'],
    [{ kind: 'none' }, true, 'skip', 'none'],
  ] as const)('on %j, of which libvirt says %s, is a %s', async (network, answer, verdict, value) => {
    const host = milan({ libvirt: libvirtSaying({ network: answer }) })

    expect(await findingOf('network', host, { network })).toMatchObject({ verdict, value })
  })

  it('has firmware by descriptors, as bad as the model is wanted where there is none', async () => {
    const plain = milan({ files: { 'usr/share/qemu/firmware/60-ovmf-amdsev.json': aDescriptor(['acpi-s3']) } })

    expect(await findingOf('firmware_amd_sev_snp', milan())).toMatchObject({
      verdict: 'pass',
      value: 'a descriptor has amd-sev-snp',
    })
    expect(await findingOf('firmware_amd_sev', plain)).toEqual({
      verdict: 'fail',
      value: 'none of 1 descriptors',
      meaning: 'no firmware descriptor has amd-sev',
      fix: 'install an OVMF that does, or set compute.uefi_loader',
    })
    expect(await findingOf('firmware_amd_sev_es', plain)).toMatchObject({ verdict: 'skip' })
    expect(await findingOf('firmware_amd_sev', milan({ libvirt: SILENT_LIBVIRT }))).toMatchObject({ verdict: 'skip' })
  })

  it('has firmware by files that the operator names, which must be there', async () => {
    const firmwareFiles = { ...NO_FIRMWARE_FILES, statelessLoader: '/srv/OVMF.amdsev.fd' }
    const options = { hostOptions: { ...hostOptions, firmwareFiles } }
    const node = { isCharacter: false, major: 0, minor: 0, mode: '0644' }
    const there = { ...milan(), devices: { ...milan().devices, '/srv/OVMF.amdsev.fd': node } }

    expect(await findingOf('firmware_amd_sev_snp', there, options)).toMatchObject({ value: '/srv/OVMF.amdsev.fd' })
    expect(await findingOf('firmware_files', milan(), options)).toEqual({
      verdict: 'fail',
      value: '/srv/OVMF.amdsev.fd',
      meaning: 'the configuration names it, and it is not there',
      fix: 'install it, or correct compute.uefi_…loader',
    })
  })
})

describe("the folder of guests' disks", () => {
  const about = async (instancesFolder: RecordedHost['instancesFolder']) => {
    const { verdict, value, meaning, fix } = await findingOf('instances_path', { ...milan(), instancesFolder })
    return [verdict, value.replace('/var/lib/sevbus/instances: ', ''), meaning, fix]
  }

  it('is one that the worker can write in and QEMU can pass, or is made by the worker', async () => {
    const ready = 'the worker may write there, and QEMU may pass'

    expect(await about({})).toEqual(['pass', '400 of 900 GiB free', ready, null])
    expect(await about({ found: '/var/lib' })).toEqual([
      ...['pass', 'not there yet, 400 of 900 GiB free', 'the worker makes it when it starts', null],
    ])
  })

  it('is given to the user of the worker alone, not with all that is above it', async () => {
    const fixOf = async (folder: RecordedHost['instancesFolder']) => (await about(folder))[3]
    const asRoot = 'run as the user of the worker; or as root, for that user:'

    expect(await fixOf({ isWritable: false })).toBe(`${asRoot} chown USER /var/lib/sevbus/instances`)
    expect(await fixOf({ found: '/var/lib', isWritable: false })).toBe(
      `${asRoot} install -d -o USER /var/lib/sevbus/instances`,
    )
  })

  it.each([
    [null, 'fail', '/var/lib/sevbus/instances: not allowed (EACCES)'],
    [{ isFolder: false }, 'fail', '/var/lib/sevbus/instances is no folder: guests get no disks'],
    [
      { isWritable: false },
      'fail',
      'this user may not write in /var/lib/sevbus/instances: guests get no disks, if the worker runs as the same',
    ],
    [
      { closed: ['/var/lib/sevbus'] },
      'fail',
      'others may not pass through /var/lib/sevbus: QEMU, which has a user of its own, finds no disk',
    ],
    [
      { kind: 'tmpfs' },
      'warn',
      "it is memory: guests' disks take what guests need, and are gone after a boot of the host",
    ],
    [{ freeGb: 9 }, 'warn', 'hardly room for an image'],
    [
      { kind: 'nfs' },
      'warn',
      'a nfs is seen by several hosts: two workers must not have the same folder, and the second one does not start',
    ],
  ] as const)('as %o is a %s', async (folder, verdict, meaning) => {
    const [found, , told, fix] = await about(folder)

    expect([found, told]).toEqual([verdict, meaning])
    expect(fix).toEqual(expect.any(String))
  })
})

describe('programs for disks', () => {
  it('are needed, some for every guest and some for what few ask for', async () => {
    const without = (...withoutTools: NonNullable<RecordedHost['withoutTools']>) => milan({ withoutTools })

    expect(await findingOf('disk_tools', milan())).toMatchObject({ verdict: 'pass' })
    expect(await findingOf('disk_tools', without('qemu-img', 'mkfs.ext4'))).toEqual({
      verdict: 'fail',
      value: 'no qemu-img, no mkfs.ext4',
      meaning: 'for disks and images, ephemeral disks: guests get no disks',
      fix: 'install qemu-utils (Debian) or qemu-img (Fedora), e2fsprogs',
    })
    expect(await findingOf('disk_tools', without('genisoimage'))).toMatchObject({ verdict: 'pass' })
    expect(await findingOf('disk_tools', without('genisoimage', 'xorrisofs', 'mkisofs'))).toEqual({
      verdict: 'warn',
      value: 'no genisoimage or xorrisofs or mkisofs',
      meaning: 'for config drives: guests that ask for these fail',
      fix: 'install genisoimage',
    })
  })

  it('are those of the kind of config drive that the host makes', async () => {
    const host = milan({ withoutTools: ['mcopy', 'genisoimage', 'xorrisofs', 'mkisofs'] })

    expect(await findingOf('disk_tools', host, { configDriveFormat: 'vfat' })).toMatchObject({ value: 'no mcopy' })
  })
})

function refusal(code: number) {
  return async () => {
    throw new LibvirtError('no emulator', { libvirt_code: code })
  }
}
