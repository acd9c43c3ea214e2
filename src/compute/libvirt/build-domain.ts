import type { Configurator } from './configurators/configurator.ts'
import { disks } from './configurators/disks.ts'
import { firmware } from './configurators/firmware.ts'
import { guestAgent } from './configurators/guest-agent.ts'
import { interfaces } from './configurators/interfaces.ts'
import { iommu } from './configurators/iommu.ts'
import { launchSecurity } from './configurators/launch-security.ts'
import { machine } from './configurators/machine.ts'
import { memoryLocking } from './configurators/memory-locking.ts'
import { metadata } from './configurators/metadata.ts'
import { scsiController } from './configurators/scsi-controller.ts'
import { vmcoreinfo } from './configurators/vmcoreinfo.ts'
import type { DomainSpec } from './domain-spec.ts'
import type { GuestSpec } from './guest-spec.ts'
import type { HostCapabilities } from './host-capabilities.ts'

/** What makes a domain, in order: later ones see what earlier ones did. `iommu` must stay last. */
const CONFIGURATORS: readonly Configurator[] = [
  metadata,
  machine,
  firmware,
  launchSecurity,
  memoryLocking,
  vmcoreinfo,
  disks,
  scsiController,
  guestAgent,
  interfaces,
  iommu,
]

/**
 * The domain of a guest on this host, from values alone.
 *
 * @throws HostCapabilityMissing when another host may do; InvalidMachineType, FlavorImageConflict or InvalidProperty
 *   when none can
 */
export function buildDomain(guest: GuestSpec, host: HostCapabilities): DomainSpec {
  return CONFIGURATORS.reduce((domain, configure) => configure(domain, guest, host), bareDomain(guest))
}

/** What every guest has, encrypted or not. */
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
    },
    memoryMib: flavor.memory_mb,
    vcpus: flavor.vcpus,
    memoryLocked: false,
    os: { arch: 'x86_64', machine: 'pc', firmware: 'bios', stateless: false },
    vmcoreinfo: false,
    disks: [],
    controllers: [],
    interfaces: [],
    serial: { logFile: `${folder}/console.log` },
    guestAgent: false,
    video: { model: 'virtio', iommu: false },
    // Nova's mem_stats_period_seconds.
    memballoon: { statsPeriodSeconds: 10, iommu: false },
    rng: { source: '/dev/urandom', iommu: false },
    launchSecurity: undefined,
  }
}
