import { describe, expect, it } from 'vitest'
import { diagnoseSimulated } from '../../../src/compute/doctor/diagnose.ts'
import { fakeCapabilities } from '../../../src/compute/fake/fake-capabilities.ts'
import { DOCTOR_OPTIONS, findingOf } from '../support/recorded-host.ts'
import { libvirtSaying, milan, SILENT_LIBVIRT } from '../support/recorded-hosts.ts'

const SLICE = 'sys/fs/cgroup/machine.slice/memory'
const bytes = (mb: number) => `${mb * 1024 ** 2}\n`
const guests = (memoryMb: number) => [
  { flavor: 'm1.tiny', memoryMb: 64, model: 'amd-sev' as const },
  { flavor: 'm1.sev', memoryMb, model: 'amd-sev' as const },
]
const meminfo = (changes: Readonly<Record<string, number>>) =>
  Object.entries({ MemTotal: 524_288, MemAvailable: 521_216, ...changes })
    .map(([name, mb]) => `${name}: ${mb * 1024} kB`)
    .join('\n')

describe('memory for all slots', () => {
  it('is slots times the largest guest, against what placement gives away', async () => {
    expect(await findingOf('memory_for_slots', milan(), { guests: guests(512) })).toEqual({
      verdict: 'pass',
      value: '410176 of 520192 MiB',
      meaning:
        '754 SEV slots x (512 of m1.sev + 32) = 410176 MiB + SEV-ES: no flavor asks for it; the host has 524288 MiB - 4096 reserved = 520192 offered',
      fix: null,
    })
  })

  it('may end before the slots do', async () => {
    expect(await findingOf('memory_for_slots', milan(), { guests: guests(2048) })).toEqual({
      verdict: 'warn',
      value: '1568320 of 520192 MiB',
      meaning:
        '754 SEV slots x (2048 of m1.sev + 32) = 1568320 MiB + SEV-ES: no flavor asks for it; the host has 524288 MiB - 4096 reserved = 520192 offered: memory ends first, after 250 of m1.sev. More are refused, never overcommitted',
      fix: 'nothing, if that is meant; else add memory, or use smaller flavors',
    })
  })

  it('may not be enough for a single one', async () => {
    expect(await findingOf('memory_for_slots', milan(), { guests: guests(600_000) })).toMatchObject({
      verdict: 'fail',
      value: 'm1.sev pins 600032 MiB',
    })
  })

  it('is told for each slot where no flavor says how large guests are', async () => {
    expect(await findingOf('memory_for_slots', milan(), { guests: [] })).toMatchObject({
      verdict: 'warn',
      meaning: '517 MiB for each of 1006 slots; no flavor of the configuration says how large guests are',
    })
  })

  it('is not counted where slots are not, and not judged without any', async () => {
    const uncounted = { ...libvirtSaying(), connectGetDomainCapabilities: async () => WITHOUT_NUMBERS }

    expect(await findingOf('memory_for_slots', milan({ libvirt: uncounted }), { guests: guests(512) })).toMatchObject({
      verdict: 'warn',
      value: '956 guests of m1.sev by memory',
    })
    expect(await findingOf('memory_for_slots', milan({ libvirt: SILENT_LIBVIRT }))).toMatchObject({ verdict: 'skip' })
    expect(await findingOf('offers_amd_sev', milan({ libvirt: uncounted }))).toMatchObject({
      verdict: 'warn',
      value: 'slots without a number',
    })
  })

  it('is judged of a simulated host, too', () => {
    const capabilities = fakeCapabilities({ sev_slots: 500, memory_mb: 65_536 })
    const [memory, models] = diagnoseSimulated(capabilities, 65_536, { ...DOCTOR_OPTIONS, guests: guests(2048) })

    expect(memory?.findings.map(({ check, verdict, value }) => [check, verdict, value])).toEqual([
      ['memory_for_slots', 'warn', '1040000 of 61440 MiB'],
    ])
    expect(models?.findings.map(({ check, verdict, value }) => [check, verdict, value])).toEqual([
      ['offers_amd_sev', 'pass', '500 slots'],
      ['offers_amd_sev_es', 'skip', 'no'],
      ['offers_amd_sev_snp', 'skip', 'no'],
    ])
  })

  it('is the sum of what the operator leaves of the slots', async () => {
    const limits = { ...DOCTOR_OPTIONS.limits, 'amd-sev': 100, 'amd-sev-es': 252 }

    expect(await findingOf('memory_for_slots', milan(), { limits, guests: guests(2048) })).toMatchObject({
      verdict: 'pass',
      value: '208000 of 520192 MiB',
    })
    expect(await findingOf('slot_limits', milan(), { limits })).toMatchObject({
      verdict: 'warn',
      meaning: 'compute.num_sev_es_encrypted_guests is 252, which the host tells by itself',
      fix: 'remove it',
    })
  })
})

const WITHOUT_NUMBERS = (
  await libvirtSaying().connectGetDomainCapabilities({ arch: '', machine: '', virttype: 'kvm' })
).replace(/<max(ES)?Guests>\d+<\/max(ES)?Guests>/g, '')

describe('memory of the host itself', () => {
  it('is reserved when that is no less than what is used without a guest', async () => {
    expect(await findingOf('reserved_memory', milan())).toMatchObject({
      verdict: 'pass',
      meaning: 'the host uses 3072 MiB without a guest',
    })
    const resources = { reserved_host_memory_mb: 512, ram_allocation_ratio: 1 }
    expect(await findingOf('reserved_memory', milan(), { resources })).toEqual({
      verdict: 'warn',
      value: 'compute.reserved_host_memory_mb 512',
      meaning: 'the host uses 3072 MiB without a guest, more than is reserved',
      fix: 'set compute.reserved_host_memory_mb to 3328 or more: pinned guests leave nothing to take back',
    })
  })

  it('cannot be told while guests run, or where nobody knows whether they do', async () => {
    const busy = milan({ libvirt: libvirtSaying({ runningGuests: 3 }) })

    expect(await findingOf('reserved_memory', busy)).toMatchObject({
      verdict: 'skip',
      meaning: '3 guests run: what the host itself uses is seen without any',
    })
    expect(await findingOf('reserved_memory', milan({ libvirt: SILENT_LIBVIRT }))).toMatchObject({ verdict: 'skip' })
    expect(await findingOf('reserved_memory', milan({ files: { 'proc/meminfo': null } }))).toMatchObject({
      verdict: 'warn',
    })
  })

  it('may be in huge pages, which few flavors use', async () => {
    const files = { 'proc/meminfo': meminfo({ Hugetlb: 400_000, MemAvailable: 121_216 }) }

    expect(await findingOf('huge_pages', milan({ files }))).toMatchObject({ verdict: 'warn', value: '400000 MiB' })
    expect(await findingOf('reserved_memory', milan({ files }))).toMatchObject({
      meaning: 'the host uses 3072 MiB without a guest',
    })
    expect(await findingOf('huge_pages', milan({ files: { 'proc/meminfo': null } }))).toMatchObject({ verdict: 'warn' })
  })
})

describe('the fence around all guests', () => {
  it.each([
    [520_192, 519_168, 'pass', /^above the 520192 MiB/],
    ['max', 'max', 'warn', /^no fence/],
    [600_000, 'max', 'warn', /^no fence/],
    [400_000, 'max', 'fail', /^placement gives away 520192 MiB: guests that it lets in are killed$/],
    [520_192, 300_000, 'warn', /^slots alone may pin 410176 MiB/],
  ] as const)('of MemoryMax %s and MemoryHigh %s is a %s', async (max, high, verdict, meaning) => {
    const text = (mb: number | 'max') => (mb === 'max' ? 'max\n' : bytes(mb))
    const host = milan({ files: { [`${SLICE}.max`]: text(max), [`${SLICE}.high`]: text(high) } })

    expect(await findingOf('machine_slice', host)).toMatchObject({
      verdict,
      meaning: expect.stringMatching(meaning),
      fix: verdict === 'pass' ? null : 'systemctl set-property machine.slice MemoryHigh=519168M MemoryMax=520192M',
    })
  })

  it('is of a control group of version 1 where there are such', async () => {
    const files = Object.fromEntries(Object.entries(milan().files).filter(([path]) => !path.startsWith(SLICE)))
    const limit = (text: string) => ({
      ...milan(),
      files: { ...files, 'sys/fs/cgroup/memory/machine.slice/memory.limit_in_bytes': text },
    })

    expect((await findingOf('machine_slice', limit(bytes(520_192)))).value).toBe(
      'MemoryMax 520192 MiB, MemoryHigh none',
    )
    expect((await findingOf('machine_slice', limit('9223372036854771712\n'))).value).toBe(
      'MemoryMax none, MemoryHigh none',
    )
    expect(await findingOf('machine_slice', { ...milan(), files })).toMatchObject({
      verdict: 'warn',
      value: 'not there',
    })
    expect(
      await findingOf('machine_slice', { ...milan(), files: { ...files, 'proc/1/comm': 'runit\n' } }),
    ).toMatchObject({
      verdict: 'warn',
      meaning: expect.stringMatching(/^the first process here is runit, and not systemd/),
      fix: 'run libvirt under systemd, or put a control group of your own around its QEMUs',
    })
    expect(await findingOf('machine_slice', milan({ files: { [`${SLICE}.max`]: null } }))).toMatchObject({
      value: 'cannot be told',
    })
  })
})

describe("the kernel's rules for memory", () => {
  it('may be strict about what is mapped', async () => {
    const files = { 'proc/sys/vm/overcommit_memory': '2\n' }

    expect(await findingOf('overcommit_memory', milan({ files }))).toMatchObject({
      verdict: 'warn',
      meaning:
        "strict: all that is mapped, guests' memory too, is at most 262144 MiB, less than the 520192 that placement gives away",
    })
    const enough = { ...files, 'proc/meminfo': meminfo({ CommitLimit: 600_000 }) }
    expect(await findingOf('overcommit_memory', milan({ files: enough }))).toMatchObject({ verdict: 'pass' })
  })

  it('may end the host where memory ends, or look for equal pages that there are not', async () => {
    const files = { 'proc/sys/vm/panic_on_oom': '1\n', 'sys/kernel/mm/ksm/run': '1\n' }

    expect(await findingOf('panic_on_oom', milan({ files }))).toMatchObject({ verdict: 'warn', value: '1' })
    expect(await findingOf('ksm', milan({ files }))).toMatchObject({ verdict: 'warn', value: 'on' })
    const { 'sys/kernel/mm/ksm/run': _, ...rest } = milan().files
    expect(await findingOf('ksm', { ...milan(), files: rest })).toMatchObject({ verdict: 'pass' })
    const hidden = Object.fromEntries(
      [...Object.keys(files), 'proc/sys/vm/overcommit_memory'].map((path) => [path, null]),
    )
    for (const check of ['overcommit_memory', 'panic_on_oom', 'ksm']) {
      expect(await findingOf(check, milan({ files: hidden }))).toMatchObject({ value: 'cannot be told' })
    }
  })

  it('are about swap, which encrypted guests never use', async () => {
    const swaps = 'Filename Type Size Used Priority\n/dev/zram0 partition 8388608 1024 -2\n'

    expect(await findingOf('swap', milan({ files: { 'proc/swaps': swaps } }))).toEqual({
      verdict: 'warn',
      value: '8192 MiB on /dev/zram0, 1 in use',
      meaning:
        'encrypted guests never use it; memory of guests in clear and of QEMU is written there; it is compressed, which encrypted memory does not',
      fix: 'encrypt it, or leave it off (swapoff -a, /etc/fstab); never count it as memory for slots',
    })
    const lent = { resources: { reserved_host_memory_mb: 4096, ram_allocation_ratio: 1.5 } }
    expect(await findingOf('swap', milan(), lent)).toMatchObject({
      verdict: 'warn',
      meaning: 'compute.ram_allocation_ratio is 1.5: guests in clear are promised memory that is nowhere',
    })
  })
})
