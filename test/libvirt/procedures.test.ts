import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Connection } from '../../src/compute/libvirt/rpc/connection.ts'
import { dial, SYSTEM_PKI } from '../../src/compute/libvirt/rpc/dial.ts'
import type { Frame } from '../../src/compute/libvirt/rpc/frame.ts'
import { guestEvent } from '../../src/compute/libvirt/rpc/guest-events.ts'
import { type Args, PROCEDURES, type ProcedureName, type Result } from '../../src/compute/libvirt/rpc/procedures.ts'
import { HypervisorUnavailable, LibvirtError } from '../../src/errors.ts'
import { whyNoLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'
import { haltingDomain } from './halting-domain.ts'

const missing = await whyNoLibvirt()
if (missing) notRun({ name: 'procedures of the libvirt protocol against an installed libvirt', ...missing })

const UUID = '0b1f9c52-6d1e-4d8e-9c1b-3f2a7b9d4e10'
const DOM = { name: 'contract', uuid: UUID, id: -1 }
const NOW = { dom: DOM, flags: 0 }
const DISK = `<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda' bus='sata'/></disk>`
const ALL_REMAINS = 1 | 2 | 4
const LIVE = 1
const PEER_TO_PEER = 2

/** Every procedure of the table is run here against the libvirt that is installed: a change of it is seen. */
describe.runIf(!missing)('the table of procedures against the installed libvirt', () => {
  const used = new Set<ProcedureName>()
  const events: ReturnType<typeof guestEvent>[] = []
  let libvirt: PrivateLibvirt
  let connection: Connection

  const call = <N extends ProcedureName>(name: N, args: Args<N>): Promise<Result<N>> => {
    used.add(name)
    return connection.call(name, args, { timeoutMs: 60_000 })
  }
  const refused = async <N extends ProcedureName>(name: N, args: Args<N>) =>
    (await call(name, args).catch((error: unknown) => error)) as { details: unknown; message: string }

  async function connect(): Promise<Connection> {
    const onMessage = (message: Frame) => events.push(guestEvent(message))
    const socket = await dial([{ kind: 'unix', path: libvirt.socket }], SYSTEM_PKI, new AbortController().signal)
    return new Connection(socket, { maxInFlight: 4, stuckMs: 60_000, onMessage })
  }

  beforeAll(async () => {
    libvirt = await startLibvirt({ name: 'procedures' })
    connection = await connect()
  })
  afterAll(async () => {
    await libvirt?.stop()
  })

  it('greets', async () => {
    expect(await call('authList', undefined)).toEqual({ types: [0] })
    expect(await call('connectSupportsFeature', { feature: 10 })).toEqual({ supported: true })
    expect(await call('connectOpen', { name: 'qemu:///system', flags: 0 })).toBeUndefined()
  })

  it('describes the host', async () => {
    const { version } = await call('connectGetLibVersion', undefined)
    expect(version).toBeGreaterThanOrEqual(9_000_000n)
    const qemu = await libvirt.run('qemu-system-x86_64', '--version')
    const [, major, minor, micro] = /version (\d+)\.(\d+)\.(\d+)/.exec(qemu) ?? []
    expect(await call('connectGetVersion', undefined)).toEqual({
      version: BigInt(Number(major) * 1_000_000 + Number(minor) * 1_000 + Number(micro)),
    })
    expect(await call('connectGetHostname', undefined)).toEqual({ hostname: 'procedures' })
    const node = await call('nodeGetInfo', undefined)
    expect(node).toMatchObject({ model: 'x86_64', nodes: expect.any(Number) })
    expect(node.nodes * node.sockets * node.cores * node.threads).toBeGreaterThanOrEqual(node.cpus)
    expect(node.memoryKib).toBeGreaterThan(500_000n)
    expect((await call('connectGetCapabilities', undefined)).capabilities).toContain('<capabilities>')
    const wanted = { emulator: undefined, arch: 'x86_64', machine: 'q35', virttype: libvirt.virtType, flags: 0 }
    const { capabilities } = await call('connectGetDomainCapabilities', wanted)
    expect(capabilities).toContain(`<domain>${libvirt.virtType}</domain>`)
    // Without the processor's help for encryption it says so; with it, what it has.
    const sev = await call('nodeGetSevInfo', { nparams: 0, flags: 4 }).catch((error: Error) => error.message)
    expect(sev).toSatisfy((answer) => typeof answer === 'object' || /does not support SEV/.test(String(answer)))
  })

  it('knows networks', async () => {
    const file = join(libvirt.folder, 'network.xml')
    await writeFile(file, '<network><name>apart</name></network>')
    await libvirt.virsh('net-define', file)

    const { net } = await call('networkLookupByName', { name: 'apart' })

    expect(net.name).toBe('apart')
    expect(await call('networkIsActive', { net })).toEqual({ active: false })
  })

  it('leads a guest through its life, and tells of it', async () => {
    const { callbackId } = await call('connectDomainEventCallbackRegisterAny', { eventId: 0, dom: undefined })
    const reboots = await call('connectDomainEventCallbackRegisterAny', { eventId: 1, dom: undefined })
    const xml = haltingDomain(libvirt, { uuid: UUID, name: DOM.name })

    expect(await call('domainDefineXmlFlags', { xml, flags: 1 })).toEqual({ dom: DOM })
    expect(await call('domainGetState', NOW)).toEqual({ state: 5, reason: 0 })
    expect(await call('domainCreateWithFlags', NOW)).toEqual({ dom: { ...DOM, id: 1 } })
    const { dom } = await call('domainLookupByUuid', { uuid: UUID })
    expect(dom).toEqual({ ...DOM, id: 1 })
    expect(await call('domainGetState', NOW)).toEqual({ state: 1, reason: 1 })
    const stats = await call('connectGetAllDomainStats', { domains: [], stats: 1, flags: 0 })
    expect(stats.records).toEqual([
      {
        dom,
        params: [
          { field: 'state.state', type: 1, value: 1 },
          { field: 'state.reason', type: 1, value: 1 },
        ],
      },
    ])
    expect((await call('domainGetXmlDesc', NOW)).xml).toContain(`<uuid>${UUID}</uuid>`)
    expect(await call('domainGetLaunchSecurityInfo', { dom: DOM, flags: 4 })).toEqual({ params: [] })
    await call('domainSuspend', { dom: DOM })
    await call('domainResume', { dom: DOM })
    await call('domainReset', NOW)
    expect(await call('domainGetJobInfo', { dom: DOM })).toMatchObject({ type: 0, memTotal: 0n })
    expect(await refused('domainAbortJob', { dom: DOM })).toMatchObject({ details: { libvirt_code: 55 } })
    expect(await refused('domainMigrateStartPostCopy', NOW)).toMatchObject({ details: { libvirt_code: 55 } })
    const nowhere = 'qemu+unix:///system?socket=/not/there'
    const away = { dom: DOM, dconnuri: nowhere, params: [], cookieIn: Buffer.alloc(0), flags: LIVE | PEER_TO_PEER }
    expect((await refused('domainMigratePerform3Params', away)).message).toContain('/not/there')
    expect(await call('domainHasManagedSaveImage', NOW)).toEqual({ result: 0 })
    await call('domainManagedSave', NOW)
    expect(await call('domainHasManagedSaveImage', NOW)).toEqual({ result: 1 })
    await call('domainCreateWithFlags', NOW)
    await call('domainShutdown', { dom: DOM })
    await call('domainReboot', NOW)
    await call('domainDestroyFlags', NOW)
    await call('domainAttachDeviceFlags', { dom: DOM, xml: DISK, flags: 2 })
    await call('domainDetachDeviceFlags', { dom: DOM, xml: DISK, flags: 2 })
    await call('domainUndefineFlags', { dom: DOM, flags: ALL_REMAINS })
    expect(await refused('domainGetState', NOW)).toMatchObject({ details: { libvirt_code: 42, libvirt_domain: 10 } })

    const seen = () =>
      events.flatMap((event) => (event?.kind === 'lifecycle' ? [`${event.event} ${event.detail}`] : []))
    while (!seen().includes('undefined removed')) await sleep(5)
    // QEMU may tell of its end by itself before it has gone; later libvirts tell of each change of the definition, and
    // that a restored guest goes on before or after its start.
    const ofSome = ['shutdown host', 'defined updated', 'resumed from_snapshot']
    expect(seen().filter((event) => !ofSome.includes(event))).toEqual([
      'defined added',
      'resumed unpaused',
      'started booted',
      'suspended paused',
      'resumed unpaused',
      'suspended paused',
      'stopped saved',
      'started restored',
      'stopped destroyed',
      'undefined removed',
    ])
    await call('connectDomainEventCallbackDeregisterAny', { callbackId })
    await call('connectDomainEventCallbackDeregisterAny', reboots)
  })

  it('is asked for a login by polkit that it does not want: that is refused, and not because nobody knows it', async () => {
    const before = connection
    connection = await connect()

    const error = await refused('authPolkit', undefined)

    expect(error).toBeInstanceOf(LibvirtError)
    expect(error.message).not.toContain('unknown procedure')
    connection.close(new HypervisorUnavailable('the test is over'))
    connection = before
  })

  it('ends', async () => {
    await call('connectClose', undefined)
    connection.close(new HypervisorUnavailable('the test is over'))

    expect([...used].toSorted()).toEqual(Object.keys(PROCEDURES).toSorted())
  })
})
