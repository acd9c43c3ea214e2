import type { PluggedDevice } from '../libvirt/plugged-device.ts'

/** The document without that device. Of a document that this host has written, so its elements can be told by their text. */
export function withoutDevice(xml: string, device: PluggedDevice): string {
  const [element, mark] =
    device.kind === 'disk'
      ? [/\s*<disk [\s\S]*?<\/disk>/g, `"${device.disk.file}"`]
      : [/\s*<interface [\s\S]*?<\/interface>/g, `"${device.interface.mac}"`]
  return xml.replaceAll(element, (text) => (text.includes(mark) ? '' : text))
}
