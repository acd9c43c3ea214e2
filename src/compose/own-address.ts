import { readFileSync } from 'node:fs'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'

type Interfaces = Readonly<
  Record<string, readonly Pick<NetworkInterfaceInfo, 'address' | 'family' | 'internal'>[] | undefined>
>

/** What this machine is reached by, as far as it knows: as Nova's default of `my_ip`. */
export function ownAddress(): string {
  return addressOf(routes(), networkInterfaces())
}

/**
 * The address of the interface that the default route goes by, or of any that others can reach; IPv4 before IPv6.
 *
 * @param table as in /proc/net/route: a line for each route, with interface and destination first
 */
export function addressOf(table: string, interfaces: Interfaces): string {
  const isDefault = ([, destination]: readonly string[]) => destination === '00000000'
  const [byRoute = ''] =
    table
      .split('\n')
      .map((line) => line.split(/\s+/))
      .find(isDefault) ?? []
  const all = [...(interfaces[byRoute] ?? []), ...Object.values(interfaces).flatMap((each) => each ?? [])]
  const outside = all.filter(({ internal }) => !internal)
  const found = outside.find(({ family }) => family === 'IPv4') ?? outside[0]
  return found?.address ?? '127.0.0.1'
}

/** Nothing where there is no such file. */
function routes(): string {
  try {
    return readFileSync('/proc/net/route', 'utf8')
  } catch {
    return ''
  }
}
