import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { buildDomain } from '../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS } from '../../src/compute/libvirt/domain-options.ts'
import type { DomainSpec } from '../../src/compute/libvirt/domain-spec.ts'
import { GuestPower } from '../../src/compute/libvirt/driver/guest-power.ts'
import { OwnDomains } from '../../src/compute/libvirt/driver/own-domains.ts'
import { guestSpec } from '../../src/compute/libvirt/guest-spec.ts'
import { Libvirt } from '../../src/compute/libvirt/rpc/libvirt.ts'
import { SerialPorts } from '../../src/compute/serial-ports.ts'
import { aCapableHost } from '../compute/support/hosts.ts'
import { anInstance } from '../compute/support/instances.ts'
import { whyNoLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'

const missing = await whyNoLibvirt()
const never = new AbortController().signal

if (missing) notRun({ name: 'a definition that libvirt makes after its answer was lost', ...missing })
describe.runIf(missing === undefined)('a libvirtd that hangs as a guest is defined', () => {
  let host: PrivateLibvirt
  beforeAll(async () => {
    host = await startLibvirt()
  })
  afterAll(async () => {
    await host?.stop()
  })

  const domains = async () => (await host.virsh('list', '--all', '--uuid')).trim()

  function aDomain(): DomainSpec {
    const { folder, virtType, cpuMode } = host
    const options = { ...DEFAULT_DOMAIN_OPTIONS, instancesPath: folder, virtType, cpuMode }
    return buildDomain(guestSpec(anInstance(), { ...options, network: { kind: 'none' } }), aCapableHost())
  }

  /** As a worker that finds out soon that the daemon hangs. */
  function open(connectTimeoutMs = 400): { libvirt: Libvirt; power: GuestPower } {
    const keepalive = { intervalMs: 150, count: 1 }
    const libvirt = new Libvirt({ uri: host.uri, onTrouble() {}, keepalive, connectTimeoutMs })
    const own = new OwnDomains(libvirt)
    const serialPorts = new SerialPorts((signal) => own.all(signal))
    return { libvirt, power: new GuestPower({ libvirt, domains: own, serialPorts }) }
  }

  /** Sends the definition, which the daemon has not read: it hangs. */
  async function sendUnread(domain: DomainSpec, { libvirt, power }: ReturnType<typeof open>): Promise<void> {
    await libvirt.connectGetHostname()
    const define = libvirt.domainDefineXmlFlags.bind(libvirt)
    vi.spyOn(libvirt, 'domainDefineXmlFlags').mockImplementationOnce(async (...args) => {
      await host.pause()
      return await define(...args)
    })
    await expect(power.spawn(domain, never)).rejects.toMatchObject({ code: 'HYPERVISOR_UNAVAILABLE' })
  }

  /** The other takes as long, and is begun later: when it is made all that was sent before would be. */
  async function nothingComesLater({ libvirt, power }: ReturnType<typeof open>): Promise<void> {
    const other = aDomain()
    await power.define(other, never)
    expect(await domains()).toBe(other.uuid)
    await power.destroy(other.uuid)
    await libvirt.close()
  }

  it('and makes it when it goes on leaves no guest that was removed meanwhile', async () => {
    const domain = aDomain()
    const worker = open()
    await sendUnread(domain, worker)

    await host.resume()
    await vi.waitFor(() => worker.power.destroy(domain.uuid), { timeout: 20_000, interval: 1 })

    await nothingComesLater(worker)
  })

  it('leaves none either where the worker that sent it has died, and the next one waits to remove what that had begun', async () => {
    const domain = aDomain()
    const died = open()
    await sendUnread(domain, died)
    await died.libvirt.close()
    const next = open(20_000)
    const now = performance.now.bind(performance)
    const removed = next.power.destroy(domain.uuid)
    // It hangs for longer than a busy one takes to answer.
    const later = vi.spyOn(performance, 'now').mockImplementation(() => now() + 2_000)
    onTestFinished(() => later.mockRestore())

    await host.resume()
    await removed

    await nothingComesLater(next)
  })
})
