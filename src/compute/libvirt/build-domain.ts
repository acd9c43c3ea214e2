import { configDrive } from './configurators/config-drive.ts'
import type { Configurator } from './configurators/configurator.ts'
import { cpu } from './configurators/cpu.ts'
import { disks } from './configurators/disks.ts'
import { firmware } from './configurators/firmware.ts'
import { graphics } from './configurators/graphics.ts'
import { guestAgent } from './configurators/guest-agent.ts'
import { inputs } from './configurators/inputs.ts'
import { interfaces } from './configurators/interfaces.ts'
import { iommu } from './configurators/iommu.ts'
import { launchSecurity } from './configurators/launch-security.ts'
import { machine } from './configurators/machine.ts'
import { memballoon } from './configurators/memballoon.ts'
import { memoryBacking } from './configurators/memory-backing.ts'
import { metadata } from './configurators/metadata.ts'
import { pciePorts } from './configurators/pcie-ports.ts'
import { rng } from './configurators/rng.ts'
import { scsiController } from './configurators/scsi-controller.ts'
import { serialConsole } from './configurators/serial-console.ts'
import { sharedMemory } from './configurators/shared-memory.ts'
import { video } from './configurators/video.ts'
import { vmcoreinfo } from './configurators/vmcoreinfo.ts'
import { volumes } from './configurators/volumes.ts'
import { CONSOLE_LOG, type DomainSpec } from './domain-spec.ts'
import type { GuestSpec } from './guest-spec.ts'
import type { HostCapabilities } from './host-capabilities.ts'

/** What makes a domain, in order: later ones see what earlier ones did. `iommu` must stay last. */
const CONFIGURATORS: readonly Configurator[] = [
  metadata,
  cpu,
  machine,
  firmware,
  launchSecurity,
  memoryBacking,
  vmcoreinfo,
  disks,
  configDrive,
  volumes,
  pciePorts,
  scsiController,
  guestAgent,
  interfaces,
  inputs,
  serialConsole,
  graphics,
  video,
  memballoon,
  rng,
  sharedMemory,
  iommu,
]

/**
 * The domain of a guest on this host, from values alone.
 *
 * @throws HostCapabilityMissing when another host may do; InvalidMachineType, FlavorImageConflict or InvalidProperty
 *   when none can
 */
export function buildDomain(guest: GuestSpec, host: HostCapabilities): DomainSpec {
  let domain = bareDomain(guest)
  for (const configure of CONFIGURATORS) domain = configure(domain, guest, host)
  return domain
}

/** What every guest has before anybody has looked at what it asks for. */
function bareDomain({ uuid, name, flavor, folder }: GuestSpec): DomainSpec {
  return {
    uuid,
    name: `sevbus-${uuid}`,
    metadata: {
      instanceName: name,
      flavorName: flavor.name,
      imageId: undefined,
      imageName: undefined,
      projectId: undefined,
      userId: undefined,
      encryption: undefined,
      sha256: undefined,
    },
    virtType: 'kvm',
    cpu: undefined,
    memoryMib: flavor.memory_mb,
    memoryBacking: { locked: false, hugepages: undefined, shared: false },
    vcpus: flavor.vcpus,
    os: { arch: 'x86_64', machine: 'pc', firmware: { kind: 'bios' } },
    vmcoreinfo: false,
    disks: [],
    filesystems: [],
    controllers: [],
    interfaces: [],
    inputs: [],
    serial: { logFile: `${folder}/${CONSOLE_LOG}` },
    guestAgent: false,
    graphics: undefined,
    video: undefined,
    memballoon: undefined,
    rng: undefined,
    vsock: undefined,
    launchSecurity: undefined,
  }
}
