import type {
  ControllerSpec,
  DiskSpec,
  FilesystemSpec,
  GraphicsSpec,
  InputSpec,
  InterfaceSource,
  InterfaceSpec,
  MemballoonSpec,
  RngSpec,
  SerialSpec,
  VideoSpec,
  VirtioDevice,
  VsockSpec,
} from './domain-spec.ts'
import { type Element, withoutUndefined } from './xml-element.ts'

/** One function for each kind of device. Source: libvirt's "Domain XML format", section "Devices". */
export function diskElement(disk: DiskSpec): Element {
  const isCdrom = disk.device === 'cdrom'
  // By the path alone, so that nobody need look: a volume under /dev is a device, or is refused where the files are.
  const isBlock = disk.role === 'volume' && disk.file.startsWith('/dev/')
  return withoutUndefined({
    '@type': isBlock ? 'block' : 'file',
    '@device': disk.device,
    // The page cache of the host would hold a copy; a CD-ROM is only read.
    driver: { '@name': 'qemu', '@type': disk.format, ...(!isCdrom && { '@cache': 'none' }), ...iommuAttribute(disk) },
    source: isBlock ? { '@dev': disk.file } : { '@file': disk.file },
    target: { '@dev': disk.target, '@bus': disk.bus },
    readonly: isCdrom ? {} : undefined,
    serial: disk.serial,
    boot: orderOf(disk),
  })
}

/** Of a guest that is rescued its own disk is the second choice. */
function orderOf({ role, bootOrder = 1 }: DiskSpec): Element | undefined {
  return role === 'root' || role === 'rescue' ? { '@order': bootOrder } : undefined
}

export function filesystemElement({ folder, tag, iommu }: FilesystemSpec): Element {
  return {
    '@type': 'mount',
    '@accessmode': 'passthrough',
    driver: { '@type': 'virtiofs', ...iommuAttribute({ iommu }) },
    source: { '@dir': folder },
    target: { '@dir': tag },
  }
}

export function controllerElement({ type, index, model, iommu }: ControllerSpec): Element {
  return withoutUndefined({ '@type': type, '@index': index, '@model': model, driver: driverElement({ iommu }) })
}

export function interfaceElement({ mac, source, model, iommu }: InterfaceSpec): Element {
  return withoutUndefined({
    '@type': source.kind,
    mac: { '@address': mac },
    source: sourceElement(source),
    model: { '@type': model },
    driver: driverElement({ iommu }),
  })
}

function sourceElement(source: InterfaceSource): Element {
  switch (source.kind) {
    case 'network':
      return { '@network': source.network }
    case 'bridge':
      return { '@bridge': source.bridge }
    case 'vhostuser':
      return { '@type': 'unix', '@path': source.socket, '@mode': source.mode }
    default:
      return source satisfies never
  }
}

export function inputElement({ type, bus, iommu }: InputSpec): Element {
  return withoutUndefined({ '@type': type, '@bus': bus, driver: driverElement({ iommu }) })
}

/** QEMU listens, and starts without waiting for anybody. A port that is not given out yet is 0, which none is. */
export function serialElement({ logFile, tcp }: SerialSpec): Element {
  const log = { '@file': logFile, '@append': 'off' }
  const target = { '@port': 0 }
  if (tcp === undefined) return { '@type': 'pty', log, target }
  const source = { '@mode': 'bind', '@host': tcp.listen, '@service': tcp.port ?? 0 }
  return { '@type': 'tcp', source, protocol: { '@type': 'raw' }, log, target }
}

export function graphicsElement({ type, listen }: GraphicsSpec): Element {
  return { '@type': type, '@port': -1, '@autoport': 'yes', '@listen': listen }
}

/** Without any, libvirt would add one to a guest that has graphics: `none` is said, not left out. */
export function videoElement(video: VideoSpec | undefined): Element {
  if (video === undefined) return { model: { '@type': 'none' } }
  return withoutUndefined({
    driver: driverElement(video),
    model: { '@type': video.model, '@heads': 1, '@primary': 'yes' },
  })
}

export function memballoonElement(memballoon: MemballoonSpec | undefined): Element {
  if (memballoon === undefined) return { '@model': 'none' }
  return withoutUndefined({
    '@model': 'virtio',
    driver: driverElement(memballoon),
    stats: { '@period': memballoon.statsPeriodSeconds },
  })
}

export function rngElement({ source, rate, iommu }: RngSpec): Element {
  return withoutUndefined({
    '@model': 'virtio',
    driver: driverElement({ iommu }),
    rate: rate && { '@bytes': rate.bytes, '@period': rate.periodMs },
    backend: { '@model': 'random', '#': source },
  })
}

export function vsockElement({ cid, iommu }: VsockSpec): Element {
  return withoutUndefined({
    '@model': 'virtio',
    driver: driverElement({ iommu }),
    cid: cid === undefined ? { '@auto': 'yes' } : { '@auto': 'no', '@address': cid },
  })
}

function driverElement(device: VirtioDevice): Element | undefined {
  return device.iommu ? iommuAttribute(device) : undefined
}

function iommuAttribute({ iommu }: VirtioDevice): Element {
  return iommu ? { '@iommu': 'on' } : {}
}
