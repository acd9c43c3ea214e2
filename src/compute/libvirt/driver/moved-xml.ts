import type { LiveMigrateData } from '../../../objects/live-migrate-data.ts'

export interface Moved {
  /** The folder of the guest where it comes from. */
  readonly folder: string
  readonly data: LiveMigrateData
}

/**
 * The document of a guest that runs, as it is to be at its destination: with the folder of its disks there, the address
 * where displays and serial consoles listen there, and the digest by which the destination knows the guest as its own. All else is what the
 * guest sees, and must stay.
 */
export function movedXml(xml: string, { folder, data }: Moved): string {
  return xml
    .replaceAll(`${escaped(folder)}/`, () => `${escaped(data.folder)}/`)
    .replace(/(<sevbus:definition sha256=(['"]))[0-9a-f]*\2/, (_, start, quote) => `${start}${data.definition}${quote}`)
    .replace(/<graphics\b[\s\S]*?(?:\/>|<\/graphics>)/g, (graphics) => listening(graphics, data.graphics_listen_addr))
    .replace(/<(serial|console) type=(['"])tcp\2[\s\S]*?<\/\1>/g, (serial) => reachedThere(serial, data))
}

/** Its console has another port there, for this one may be another guest's. */
function reachedThere(
  serial: string,
  { serial_listen_addr: address, serial_listen_ports: ports }: LiveMigrateData,
): string {
  const [port] = ports ?? []
  if (address === undefined || port === undefined) return serial
  return serial
    .replace(/(\bhost=(['"]))[^'"]*\2/, (_, start, quote) => `${start}${address}${quote}`)
    .replace(/(\bservice=(['"]))[^'"]*\2/, (_, start, quote) => `${start}${port}${quote}`)
}

function listening(graphics: string, address: string | null): string {
  if (address === null) return graphics
  return graphics.replace(/(\b(?:listen|address)=(['"]))[^'"]*\2/g, (_, start, quote) => `${start}${address}${quote}`)
}

/** As libvirt writes texts and attributes. */
function escaped(text: string): string {
  const references: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    "'": '&apos;',
    '"': '&quot;',
  }
  return text.replace(/[&<>'"]/g, (character) => references[character] as string)
}
