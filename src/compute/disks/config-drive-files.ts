import type { Instance } from '../../objects/instance.ts'
import type { InterfaceSpec } from '../libvirt/domain-spec.ts'

export interface DriveFile {
  /** From the root of the drive: `openstack/latest/meta_data.json`. */
  readonly path: string
  readonly content: string | Uint8Array
}

const FOLDER = 'openstack/latest'

/**
 * What cloud-init reads at first boot. Names and fields are those of Nova's config drive ("Metadata", in Nova's user
 * guide), as far as something here has their values: there are no keypairs, no tags and no passwords.
 *
 * @param interfaces those that the guest really has, which the host's operator decides
 */
export function configDriveFiles(
  instance: Instance,
  interfaces: readonly Pick<InterfaceSpec, 'mac'>[],
  userData: string | undefined,
): readonly DriveFile[] {
  const files: DriveFile[] = [
    { path: `${FOLDER}/meta_data.json`, content: json(metaData(instance)) },
    { path: `${FOLDER}/network_data.json`, content: json(networkData(instance, interfaces)) },
    { path: `${FOLDER}/vendor_data.json`, content: json({}) },
  ]
  if (userData !== undefined) files.push({ path: `${FOLDER}/user_data`, content: Buffer.from(userData, 'base64') })
  return files
}

function metaData({ uuid, name, project_id, availability_zone }: Instance): object {
  return {
    uuid,
    name,
    hostname: hostName(name, uuid),
    ...(project_id !== null && { project_id }),
    ...(availability_zone !== null && { availability_zone }),
  }
}

/** A label of DNS (RFC 1123) from a name that may hold anything; what leaves nothing of it is called by its uuid. */
function hostName(name: string, uuid: string): string {
  const label = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '')
  return label === '' ? `server-${uuid}` : label
}

/**
 * Addresses of a request come without prefix and gateway, so the guest asks its network for them: DHCP, or router
 * advertisements. Schema: Nova's `network_data.json`.
 */
function networkData({ ip_addresses }: Instance, interfaces: readonly Pick<InterfaceSpec, 'mac'>[]): object {
  const links = interfaces.map(({ mac }, index) => ({ id: `link${index}`, type: 'phy', ethernet_mac_address: mac }))
  const networks = links.flatMap(({ id: link, ethernet_mac_address: mac }) => {
    const versions = new Set(ip_addresses.filter((each) => each.mac.toLowerCase() === mac).map((each) => each.version))
    return [...versions].map((version) => ({ link, type: version === 4 ? 'ipv4_dhcp' : 'ipv6_slaac' }))
  })
  return { links, networks: networks.map((network, index) => ({ id: `network${index}`, ...network })), services: [] }
}

function json(value: object): string {
  return `${JSON.stringify(value, undefined, 1)}\n`
}
