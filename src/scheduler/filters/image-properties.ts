import type { ImageMeta } from '../../objects/image-meta.ts'
import type { HostFilter } from './host-filter.ts'

/** Names that images have for a processor's architecture, and the one that Nova means. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  amd64: 'x86_64',
  x64: 'x86_64',
  arm64: 'aarch64',
  i386: 'i686',
  i486: 'i686',
  i586: 'i686',
  x86: 'i686',
}
/** A processor of 64 bits runs guests of 32. */
const ALSO_RUNS: Readonly<Record<string, readonly string[]>> = { x86_64: ['i686'], aarch64: ['armv7l'] }
/** libvirt's hypervisor is QEMU, with KVM or without, and so is the simulated host's. */
const HYPERVISORS: Readonly<Record<string, string>> = { kvm: 'qemu', fake: 'qemu' }
/** Fully virtual machines, which are all that run here. */
const FULLY_VIRTUAL: readonly string[] = ['hvm', 'hv']

/** Drops hosts of another architecture, hypervisor or kind of virtual machine than the image is made for. */
export const imageProperties: HostFilter = {
  name: 'ImagePropertiesFilter',
  fix: 'take an image that is made for the hosts, or correct its hw_architecture, img_hv_type or hw_vm_mode',
  reject: ({ architecture, hypervisorType }, { spec: { image } }) => {
    const asked = wordOf(image, 'hw_architecture', 'architecture')
    const processor = asked && (ARCHITECTURES[asked] ?? asked)
    if (processor && architecture !== undefined && !runs(architecture, processor)) {
      return `its processor is ${architecture}, the image is made for ${asked} (hw_architecture)`
    }
    const hypervisor = wordOf(image, 'img_hv_type', 'hypervisor_type')
    if (hypervisor && canonical(hypervisor) !== canonical(hypervisorType.toLowerCase())) {
      return `its hypervisor is ${hypervisorType}, the image is made for ${hypervisor} (img_hv_type)`
    }
    const mode = wordOf(image, 'hw_vm_mode', 'vm_mode')
    if (mode === undefined || FULLY_VIRTUAL.includes(mode)) return undefined
    return `runs fully virtual machines (hvm), the image is made for ${mode} (hw_vm_mode)`
  },
}

function runs(host: string, guest: string): boolean {
  return host === guest || ALSO_RUNS[host]?.includes(guest) === true
}

function canonical(hypervisor: string): string {
  return HYPERVISORS[hypervisor] ?? hypervisor
}

/** Nova reads the older name where an image does not have the newer. */
function wordOf({ properties }: ImageMeta, name: string, olderName: string): string | undefined {
  const value = properties[name] ?? properties[olderName]
  return value === undefined || value === null || value === '' ? undefined : String(value).toLowerCase()
}
