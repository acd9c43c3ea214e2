import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { GuestEvent } from '../../src/compute/libvirt/rpc/guest-events.ts'
import { FLAGS, Libvirt } from '../../src/compute/libvirt/rpc/libvirt.ts'
import type { LibvirtOptions } from '../../src/compute/libvirt/rpc/libvirt-connections.ts'
import { isLibvirtError, VIR_ERR } from '../../src/compute/libvirt/rpc/remote-error.ts'
import { whyNoLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'
import { type SevHost, startSevHost, whyNoSevHost } from '../servers/sev-host.ts'
import { haltingDomain } from './halting-domain.ts'

const missing = await whyNoLibvirt()
if (missing) notRun({ name: 'our client of libvirt with real guests', ...missing })

const noSev = await whyNoSevHost()
if (noSev) notRun({ name: 'our client of libvirt with guests under SEV', ...noSev })

const ALL_REMAINS = FLAGS.undefineManagedSave | FLAGS.undefineSnapshotsMetadata | FLAGS.undefineNvram

describe.runIf(!missing)('our client of a real libvirt', () => {
  let host: PrivateLibvirt
  const open: Libvirt[] = []

  beforeAll(async () => {
    host = await startLibvirt({ name: 'client' })
  })
  afterEach(async () => {
    // What a test that failed left running is no business of the next.
    const libvirt = connected()
    const left = await libvirt.connectGetAllDomainStates()
    await Promise.all(left.map(({ uuid }) => remove(libvirt, uuid)))
    await Promise.all(open.splice(0).map((each) => each.close()))
  })
  afterAll(async () => {
    await host?.stop()
  })

  function connected(options: Partial<LibvirtOptions> = {}): Libvirt {
    const libvirt = new Libvirt({ uri: host.uri, onTrouble: () => {}, ...options })
    open.push(libvirt)
    return libvirt
  }

  async function aGuest(libvirt: Libvirt): Promise<string> {
    const uuid = randomUUID()
    await libvirt.domainDefineXmlFlags(haltingDomain(host, { uuid, name: uuid }))
    await libvirt.domainCreateWithFlags(uuid)
    return uuid
  }

  async function remove(libvirt: Libvirt, uuid: string): Promise<void> {
    // Right after a restart of the daemon this can be its answer although the guest ran, and runs no more.
    await libvirt.domainDestroyFlags(uuid).catch((error: unknown) => {
      if (!isLibvirtError(error, VIR_ERR.operationInvalid)) throw error
    })
    await libvirt.domainUndefineFlags(uuid, ALL_REMAINS)
  }

  /** What the stream tells of a guest until it tells this. */
  async function until(events: AsyncIterable<GuestEvent>, uuid: string, last: string): Promise<readonly string[]> {
    const seen: string[] = []
    for await (const event of events) {
      if (event.kind === 'lifecycle' && event.uuid === uuid) seen.push(`${event.event} ${event.detail}`)
      if (event.kind === 'resync') seen.push('resync')
      if (seen.at(-1) === last) break
    }
    return seen
  }

  /** The next call to look again; what the guests did before it (their starts are told late) is passed over. */
  async function toResync(events: AsyncIterator<GuestEvent>): Promise<GuestEvent> {
    for (;;) {
      const { value, done } = await events.next()
      if (done) throw new Error('the stream of events ended before it asked to look again')
      if (value.kind === 'resync') return value
    }
  }

  it('starts, lists and removes guests, and hears of it', async () => {
    const libvirt = connected()
    await libvirt.connectGetHostname()
    const events = libvirt.events()

    const uuid = await aGuest(libvirt)

    expect(await libvirt.connectGetAllDomainStates()).toEqual([
      { uuid, name: uuid, state: 'running', reason: 'booted' },
    ])
    await remove(libvirt, uuid)
    expect(await libvirt.connectGetAllDomainStates()).toEqual([])
    expect(await until(events, uuid, 'undefined removed')).toEqual(
      expect.arrayContaining(['resync', 'defined added', 'started booted', 'stopped destroyed', 'undefined removed']),
    )
  })

  it('knows errors by their numbers', async () => {
    const libvirt = connected()
    const uuid = randomUUID()
    const xml = haltingDomain(host, { uuid, name: uuid })
    const failure = (work: Promise<unknown>) => work.then(() => undefined).catch((error: unknown) => error)

    const unknown = await failure(libvirt.domainGetState(uuid))
    const invalid = await failure(libvirt.domainDefineXmlFlags(xml.replace('<features>', '<bogus/><features>')))
    const unsupported = await failure(libvirt.domainDefineXmlFlags(xml.replace('x86_64', 'z80'), 0))
    const noNetwork = await failure(libvirt.networkIsActive('nowhere'))
    await libvirt.domainDefineXmlFlags(xml)
    const stopped = await failure(libvirt.domainDestroyFlags(uuid))
    const twice = await failure(libvirt.domainDefineXmlFlags(xml.replace(`<uuid>${uuid}`, `<uuid>${randomUUID()}`)))
    await libvirt.domainUndefineFlags(uuid, ALL_REMAINS)

    expect(isLibvirtError(unknown, VIR_ERR.noDomain)).toBe(true)
    expect(isLibvirtError(invalid, VIR_ERR.xmlInvalidSchema)).toBe(true)
    expect(isLibvirtError(noNetwork, VIR_ERR.noNetwork)).toBe(true)
    expect(isLibvirtError(unsupported, VIR_ERR.configUnsupported)).toBe(true)
    expect(isLibvirtError(stopped, VIR_ERR.operationInvalid)).toBe(true)
    expect(isLibvirtError(twice, VIR_ERR.operationFailed)).toBe(true)
    expect(isLibvirtError(new Error('another'), VIR_ERR.noDomain)).toBe(false)
  })

  it('finds its guests again after the daemon was killed, and asks the listener to look', async () => {
    const libvirt = connected()
    const uuid = await aGuest(libvirt)
    const events = libvirt.events()
    await toResync(events)

    await host.kill()
    const call = libvirt.domainGetState(uuid).catch((error: { code: string }) => error.code)
    await host.restart()

    expect(['HYPERVISOR_UNAVAILABLE', { state: 'running', reason: 'booted' }]).toContainEqual(await call)
    expect(await toResync(events)).toEqual({ kind: 'resync', why: 'the connection is new' })
    expect(await libvirt.domainGetState(uuid)).toMatchObject({ state: 'running' })
    await remove(libvirt, uuid)
    expect(await until(events, uuid, 'undefined removed')).not.toContain('resync')
  })

  it('does not wait for a daemon that hangs longer than it may', async () => {
    const libvirt = connected({ keepalive: { intervalMs: 50, count: 3 } })
    await libvirt.connectGetHostname()

    await host.pause()
    const late = libvirt.connectGetHostname({ timeoutMs: 20 }).catch((error: { code: string }) => error.code)
    const lost = libvirt.connectGetHostname().catch((error: { code: string }) => error.code)

    expect(await Promise.all([late, lost])).toEqual(['HYPERVISOR_TIMEOUT', 'HYPERVISOR_UNAVAILABLE'])
    await host.resume()
    await vi.waitFor(() => expect(libvirt.connectGetHostname()).resolves.toBe('client'), 10_000)
  })

  it('lives through more starts than the daemon takes at a time, for it hears pings meanwhile', async () => {
    const troubles: string[] = []
    const keepalive = { intervalMs: 100, count: 5 }
    const libvirt = connected({ controlConnections: 1, keepalive, onTrouble: ({ message }) => troubles.push(message) })

    const uuids = await Promise.all(Array.from({ length: 8 }, () => aGuest(libvirt)))

    expect((await libvirt.connectGetAllDomainStates()).map(({ uuid }) => uuid).toSorted()).toEqual(uuids.toSorted())
    expect(troubles).toEqual([])
    await Promise.all(uuids.map((uuid) => remove(libvirt, uuid)))
  })
})

/** Real hardware too: `SEVBUS_TEST_LIBVIRT`. */
describe.runIf(!noSev)('our client of a libvirt with SEV', () => {
  let host: SevHost
  let libvirt: Libvirt

  beforeAll(async () => {
    host = await startSevHost('client', { cbitpos: 51, max_asid: 20, min_sev_asid: 6 })
    libvirt = new Libvirt({ uri: host.uri, onTrouble: () => {} })
  })
  afterAll(async () => {
    await libvirt?.close()
    await host?.stop()
  })

  it('knows what the processor has, with the texts that libvirt leaves out unless they are asked for', async () => {
    const info = await libvirt.nodeGetSevInfo()

    expect(info).toMatchObject({
      cbitpos: expect.any(Number),
      'reduced-phys-bits': expect.any(Number),
      pdh: expect.stringMatching(/^[\w+/=]+$/),
      'cert-chain': expect.stringMatching(/^[\w+/=]+$/),
    })
    if (host.emulated) expect(info).toMatchObject({ cbitpos: 51, 'max-guests': 15, 'max-es-guests': 5 })
  })

  it('knows how a guest was launched', async () => {
    const uuid = randomUUID()
    const name = `sevbus-test-${uuid}`
    await libvirt.domainDefineXmlFlags(
      `<domain type='kvm'><name>${name}</name><uuid>${uuid}</uuid><memory unit='MiB'>256</memory><vcpu>1</vcpu>
      <memoryBacking><locked/></memoryBacking>
      <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type>
      <firmware><feature enabled='no' name='secure-boot'/></firmware></os><features><acpi/></features>
      <devices><memballoon model='none'/></devices>
      <launchSecurity type='sev'><policy>0x0033</policy></launchSecurity></domain>`,
    )
    try {
      await libvirt.domainCreateWithFlags(uuid)

      expect(await libvirt.domainGetLaunchSecurityInfo(uuid)).toMatchObject({
        'sev-policy': 0x33,
        // 32 bytes of the measurement, 16 of its nonce.
        'sev-measurement': expect.stringMatching(/^[\w+/]{64}$/),
      })
      await libvirt.domainDestroyFlags(uuid)
    } finally {
      await libvirt.domainUndefineFlags(uuid, ALL_REMAINS)
    }
  })
})
