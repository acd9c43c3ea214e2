import { createHash, createHmac, randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { readEncryptionKeys } from '../../src/compute/libvirt/encryption-keys.ts'
import { readKernelParameters } from '../../src/compute/libvirt/kernel-parameters.ts'
import { whyNoSevLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'

const missing = await whyNoSevLibvirt()
if (missing) notRun({ name: 'real guests with emulated SEV', ...missing })

const SEV = '0x0033'
const SEV_ES = '0x0037'

/** Two SEV guests, and three SEV-ES guests. */
const FEW = { cbitpos: 51, max_asid: 5, min_sev_asid: 4 }

interface GuestOptions {
  readonly policy?: string
  readonly cbitpos?: number
  readonly isLocked?: boolean
}

describe.runIf(missing === undefined)('the emulated SEV host, by unmodified libvirt and QEMU', () => {
  let host: PrivateLibvirt

  beforeAll(async () => {
    host = await startLibvirt({ name: 'sev-1', sev: FEW })
  })

  afterEach(async () => {
    await host.sev?.heal()
    await host.sev?.configure(FEW)
    for (const uuid of (await host.virsh('list', '--uuid')).split('\n').filter((line) => line !== '')) {
      await host.virsh('destroy', uuid)
    }
    await vi.waitFor(async () => expect(await keys()).toMatchObject({ sev: { current: 0 }, sev_es: { current: 0 } }))
  })

  afterAll(() => host?.stop())

  const keys = () => readEncryptionKeys(host.root)

  /** Defines a guest that does nothing; `start` starts it. */
  async function aGuest({ policy = SEV, cbitpos = FEW.cbitpos, isLocked = true }: GuestOptions = {}) {
    const uuid = randomUUID()
    const file = join(host.folder, `${uuid}.xml`)
    await writeFile(
      file,
      `<domain type="kvm"><name>${uuid}</name><uuid>${uuid}</uuid>
      <memory unit="MiB">64</memory><vcpu>2</vcpu>${isLocked ? '<memoryBacking><locked/></memoryBacking>' : ''}
      <os firmware="efi"><type arch="x86_64" machine="q35">hvm</type></os><features><acpi/></features>
      <devices><memballoon model="none"/></devices>
      <launchSecurity type="sev"><cbitpos>${cbitpos}</cbitpos><reducedPhysBits>1</reducedPhysBits>
      <policy>${policy}</policy></launchSecurity></domain>`,
    )
    await host.virsh('define', '--validate', file)
    const start = () => host.virsh('start', uuid)
    const state = async () => (await host.virsh('domstate', uuid)).trim()
    return { uuid, start, state }
  }

  it('tells libvirt and the worker what it has', async () => {
    const document = await host.virsh('domcapabilities', '--machine', 'q35')
    const sev = /<sev supported='yes'>(.*)<\/sev>/s.exec(document)?.[1] ?? ''
    const values = Object.fromEntries([...sev.matchAll(/<(\w+)>([^<]*)</g)].map(([, name, value]) => [name, value]))

    expect(values).toEqual({
      cbitpos: '51',
      reducedPhysBits: '1',
      maxGuests: '2',
      maxESGuests: '3',
      cpu0Id: expect.stringMatching(/^[\w+/]{86}==$/),
    })
    expect(await readKernelParameters(host.root)).toEqual({ sev: 'Y\n', sev_es: 'Y\n', sev_snp: 'N\n' })
    expect(await keys()).toEqual({ sev: { current: 0, capacity: 2 }, sev_es: { current: 0, capacity: 3 } })
  })

  it('launches SEV guests, each command in its turn, and measures them as AMD says', async () => {
    const before = (await host.sev?.log())?.length
    const guest = await aGuest()

    await guest.start()

    expect(await guest.state()).toBe('running')
    expect((await host.sev?.log())?.slice(before)).toEqual([
      'INIT ok',
      'LAUNCH_START policy=0x33 asid=4 ok',
      'LAUNCH_UPDATE_DATA ok',
      'LAUNCH_MEASURE fw_error=4 EIO', // asks how long it is
      'LAUNCH_MEASURE ok',
      'LAUNCH_FINISH ok',
    ])
    const info = await host.virsh('domlaunchsecinfo', guest.uuid)
    const measurement = Buffer.from(/^sev-measurement *: (\S+)$/m.exec(info)?.[1] ?? '', 'base64')
    const firmware = await readFile(host.firmware.loader)
    expect(measurement.subarray(0, 32)).toEqual(expectedMeasurement(0x33, firmware, measurement.subarray(32)))
    const qemu = await host.guestProcess(guest.uuid)
    expect(qemu?.args.find((arg) => arg.includes('sev-guest'))).toContain('"policy":51')
  })

  it('launches SEV-ES guests with the states of their processors', async () => {
    const before = (await host.sev?.log())?.length
    const guest = await aGuest({ policy: SEV_ES })

    await guest.start()

    expect(await guest.state()).toBe('running')
    const log = (await host.sev?.log())?.slice(before)
    expect(log).toContain('LAUNCH_START policy=0x37 asid=1 ok')
    expect(log).toContain('LAUNCH_UPDATE_VMSA ok')
    expect(await keys()).toEqual({ sev: { current: 0, capacity: 2 }, sev_es: { current: 1, capacity: 3 } })
  })

  it('runs out of ASIDs as hardware does, and has them again when a guest ends, however it ends', async () => {
    const [one, two, three] = await Promise.all([aGuest(), aGuest(), aGuest()])
    const es = await aGuest({ policy: SEV_ES })
    await one.start()
    await two.start()
    await vi.waitFor(async () => expect(await keys()).toMatchObject({ sev: { current: 2 } }))

    await expect(three.start()).rejects.toThrow("sev_kvm_init: failed to initialize ret=-16 fw_error=0 ''")
    await es.start() // has ASIDs of its own

    process.kill((await host.guestProcess(two.uuid))?.pid ?? Number.NaN, 'SIGKILL')
    await vi.waitFor(async () => expect(await keys()).toMatchObject({ sev: { current: 1 }, sev_es: { current: 1 } }))
    await three.start()
    expect(await three.state()).toBe('running')
  })

  it('keeps ASIDs of guests whose daemon is killed', async () => {
    const guest = await aGuest()
    await guest.start()

    await host.kill()

    expect(await keys()).toMatchObject({ sev: { current: 1 } })
    await host.restart()
    expect(await guest.state()).toBe('running')
  })

  it.each([
    ['LAUNCH_START', { errno: 'EIO', fwError: 23 }, "fw_error=23 'Required firmware resource depleted'"],
    ['LAUNCH_UPDATE_DATA', { errno: 'EIO', fwError: 15 }, "LAUNCH_UPDATE ret=-5 fw_error=15 'DF_FLUSH is required'"],
    ['LAUNCH_FINISH', { errno: 'EIO', fwError: 2 }, "LAUNCH_FINISH ret=-5 fw_error=2 'Guest state is invalid'"],
    [
      'PLATFORM_STATUS',
      { errno: 'EIO', fwError: 19 },
      "failed to get platform status ret=-1 fw_error='19: Hardware error'",
    ],
    ['REG_REGION', { errno: 'ENOMEM' }, 'failed to register region'],
  ] as const)(
    'fails at %s when told to, in QEMU’s own words, and leaves no ASID taken',
    async (command, fault, words) => {
      const guest = await aGuest()
      await host.sev?.fail(command, fault)

      await expect(guest.start()).rejects.toThrow(words)

      await vi.waitFor(async () => expect(await keys()).toMatchObject({ sev: { current: 0 } }))
      await host.sev?.heal()
      await guest.start()
      expect(await guest.state()).toBe('running')
    },
  )

  it('refuses what the hardware refuses: another C-bit, a newer API than it has', async () => {
    const wrongBit = await aGuest({ cbitpos: 47 })
    const newerApi = await aGuest({ policy: '0x00020033' })

    await expect(wrongBit.start()).rejects.toThrow("cbitpos check failed, host '51' requested '47'")
    await expect(newerApi.start()).rejects.toThrow("fw_error=7 'Policy is not allowed'")
  })

  it('lets no process pin more than it may lock, which is why guests of SEV have locked memory', async () => {
    const guest = await aGuest({ isLocked: false })
    await host.sev?.configure({ ...FEW, fake_memlock: 0 })

    await expect(guest.start()).rejects.toThrow(/failed to register region .* error 'Cannot allocate memory'/)
  })

  it('is as slow as it is told to be', async () => {
    const before = (await host.sev?.log())?.length
    const log = async () => (await host.sev?.log())?.slice(before)
    const guest = await aGuest()
    await host.sev?.configure({ ...FEW, delay_ms: 1000 })

    const started = guest.start()

    await vi.waitFor(async () => expect(await log()).toEqual(['INIT ok']), { timeout: 10_000 })
    await host.sev?.configure(FEW)
    await started
    expect(await log()).toHaveLength(6)
  })

  it('has an identity of its own on each host, and no SEV-ES where the BIOS keeps nothing for it', async () => {
    const other = await startLibvirt({ name: 'sev-2', sev: { max_asid: 15, min_sev_asid: 1 } })
    try {
      const [ours, theirs] = await Promise.all([host, other].map((each) => each.virsh('nodesevinfo')))

      expect(theirs).toMatch(/^max-guests +: 15$/m)
      expect(theirs).toMatch(/^max-es-guests +: 0$/m)
      expect(cpu0Id(theirs)).toMatch(/^\S{88}$/)
      expect(cpu0Id(theirs)).not.toBe(cpu0Id(ours))
      expect(await readKernelParameters(other.root)).toEqual({ sev: 'Y\n', sev_es: 'N\n', sev_snp: 'N\n' })
      expect(await readEncryptionKeys(other.root)).toMatchObject({ sev: { capacity: 15 }, sev_es: { capacity: 0 } })
    } finally {
      await other.stop()
    }
  })
})

function cpu0Id(info = ''): string | undefined {
  return /^cpu0-id +: (\S+)$/m.exec(info)?.[1]
}

/** By the emulator's defaults: API 0.24, build 15, a key of zeros. Source: AMD's publication 55766, LAUNCH_MEASURE. */
function expectedMeasurement(policy: number, firmware: Buffer, nonce: Buffer): Buffer {
  const policyBytes = Buffer.alloc(4)
  policyBytes.writeUInt32LE(policy)
  const digest = createHash('sha256').update(firmware).digest()
  const text = Buffer.concat([Buffer.from([4, 0, 24, 15]), policyBytes, digest, nonce])
  return createHmac('sha256', Buffer.alloc(16)).update(text).digest()
}
