import { ConsoleNotAvailable, ConsoleTypeUnavailable } from '../../errors.ts'
import type { ConsoleAddress, ConsoleProtocol } from '../../objects/console.ts'
import { parseDomain } from './parse-domain.ts'
import { attribute, child, children, type XmlElement } from './parse-xml.ts'

/**
 * Where a console of a guest is, by its document as the hypervisor has it: while the guest runs that has the ports.
 *
 * @param isOff of one that does not run the port of its serial console is only what it is to be
 * @param proxied what proxies reach the host by; undefined: where the console listens
 * @throws ConsoleTypeUnavailable, ConsoleNotAvailable, InvalidDomainXml
 */
export function consoleAddress(
  xml: string,
  protocol: ConsoleProtocol,
  proxied: string | undefined,
  isOff = false,
): ConsoleAddress {
  const devices = child(parseDomain(xml), 'devices')
  const found = protocol === 'serial' ? serialOf(devices) : graphicsOf(devices, protocol)
  if (found === undefined) {
    const fix =
      protocol === 'serial'
        ? 'set compute.serial_console_port_range on its host and start it anew, or read its log (sevbus console-log)'
        : `set compute.graphics = "${protocol}" on its host`
    throw new ConsoleTypeUnavailable(`the guest has no ${protocol} console; ${fix}`, { console_type: protocol, fix })
  }
  if (isOff || (found.port === null && found.tls_port === null)) {
    const fix = 'start the instance'
    throw new ConsoleNotAvailable(`the guest does not run, and so has no ${protocol} console; ${fix}`, {
      console_type: protocol,
      fix,
    })
  }
  return { ...found, host: proxied ?? found.host, internal_access_path: null }
}

type Found = Pick<ConsoleAddress, 'host' | 'port' | 'tls_port'>

function graphicsOf(devices: XmlElement | undefined, type: string): Found | undefined {
  const graphics = children(devices, 'graphics').find((each) => attribute(each, 'type') === type)
  if (graphics === undefined) return undefined
  const host = attribute(graphics, 'listen') ?? attribute(child(graphics, 'listen'), 'address') ?? '127.0.0.1'
  return { host, port: portOf(attribute(graphics, 'port')), tls_port: portOf(attribute(graphics, 'tlsPort')) }
}

function serialOf(devices: XmlElement | undefined): Found | undefined {
  const serial = children(devices, 'serial').find((each) => attribute(each, 'type') === 'tcp')
  const source = child(serial, 'source')
  if (source === undefined) return undefined
  return { host: attribute(source, 'host') ?? '127.0.0.1', port: portOf(attribute(source, 'service')), tls_port: null }
}

/** -1 until the guest runs: libvirt takes one that is free. */
function portOf(text: string | undefined): number | null {
  const port = Number(text)
  return Number.isInteger(port) && port > 0 && port <= 65_535 ? port : null
}
