import { type ConsoleAddress, type ConsoleProtocol, MAX_CONSOLE_BYTES } from '../objects/console.ts'
import type { ComputePorts } from './compute-ports.ts'
import { consoleAddress } from './libvirt/console-address.ts'

type Ports = Pick<ComputePorts, 'driver' | 'domainOptions'>

/** @throws GuestNotFound */
export async function consoleOutput(
  { driver }: Ports,
  uuid: string,
  tailLength: number | undefined,
  signal: AbortSignal,
): Promise<string> {
  return lastLines((await driver.consoleLog(uuid, MAX_CONSOLE_BYTES, signal)).toString('utf8'), tailLength)
}

/** @throws GuestNotFound, ConsoleTypeUnavailable, ConsoleNotAvailable */
export async function consoleOf(
  { driver, domainOptions }: Ports,
  uuid: string,
  protocol: ConsoleProtocol,
  signal: AbortSignal,
): Promise<ConsoleAddress> {
  const [xml, guest] = await Promise.all([driver.domainXml(uuid, signal), driver.guest(uuid, signal)])
  return consoleAddress(xml, protocol, domainOptions.consoleAddress, guest?.state === 'shutoff')
}

/** What ends without a line end is a line, too. */
function lastLines(text: string, count: number | undefined): string {
  if (count === undefined) return text
  const lines = text.split('\n')
  const isWhole = lines.at(-1) === ''
  const kept = (isWhole ? lines.slice(0, -1) : lines).slice(Math.max(0, lines.length - (isWhole ? 1 : 0) - count))
  return kept.length === 0 ? '' : kept.join('\n') + (isWhole ? '\n' : '')
}
