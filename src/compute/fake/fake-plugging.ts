import type { DomainSpec } from '../libvirt/domain-spec.ts'
import { domainXml } from '../libvirt/domain-xml.ts'
import { pluggedXmls } from '../libvirt/hot-plug.ts'
import { hasScsiController, isPlugged, type PluggedDevice } from '../libvirt/plugged-device.ts'
import { readDefinition } from './definition.ts'
import type { FakeMachine } from './fake-machine.ts'
import { withoutDevice } from './without-device.ts'

/** Plugs a device into a simulated guest, for its next start, and where it runs at once. */
export async function plugIn(machine: FakeMachine, domain: DomainSpec, device: PluggedDevice): Promise<void> {
  const { uuid } = domain
  const { guest, definition } = redefined(machine, domain)
  const { live } = guest
  if (live === undefined || isPlugged(live, device)) return await machine.keep(uuid, { ...guest, definition })
  const running = { uuid, isEncrypted: guest.model !== undefined, hasScsiController: hasScsiController(live) }
  const devices = pluggedXmls(device, running).join('\n')
  await machine.keep(uuid, { ...guest, definition, live: live.replace('</devices>', `${devices}</devices>`) })
}

/** Its guests let go at once, or never. */
export async function takeOut(machine: FakeMachine, domain: DomainSpec, device: PluggedDevice): Promise<void> {
  const { guest, definition } = redefined(machine, domain)
  const live = guest.live && !machine.facts.holds_devices ? withoutDevice(guest.live, device) : guest.live
  await machine.keep(domain.uuid, { ...guest, definition, ...(live !== undefined && { live }) })
}

function redefined(machine: FakeMachine, domain: DomainSpec) {
  const guest = machine.guest(domain.uuid)
  const definition = domainXml(domain)
  readDefinition(definition, machine.capabilities)
  return { guest, definition }
}
