import { join } from 'node:path'
import type { Logger } from 'pino'
import { openGuestDisks } from '../compute/disks/open-guest-disks.ts'
import { type FakeHostOptions, refuseUnknownMachine } from '../compute/fake/fake-host-options.ts'
import { openFakeHost } from '../compute/fake/fake-virt-driver.ts'
import { LibvirtVirtDriver } from '../compute/libvirt/driver/libvirt-virt-driver.ts'
import { Libvirt } from '../compute/libvirt/rpc/libvirt.ts'
import type { ToldLosses } from '../compute/told-losses.ts'
import type { VirtDriver } from '../compute/virt-driver.ts'
import type { Config } from '../config.ts'
import { defaultMachineType, diskOptions, domainOptions, hostOptions, liveMigrationOptions } from './host-options.ts'

/** Who is told that there is no connection to libvirt, and that there is one again. */
type Losses = Pick<ToldLosses, 'lost' | 'back'>

/** The host that the configuration names. @throws AlreadyInUse, InvalidFile, InvalidConfiguration */
export async function openDriver(config: Config, logger: Logger, losses?: Losses): Promise<VirtDriver> {
  const { compute } = config
  switch (compute.driver) {
    case 'fake':
      return await openFakeHost(
        { ...simulatedHost(config), folder: join(compute.state_folder, 'guests') },
        diskOptions(compute),
      )
    case 'libvirt': {
      const disks = await openGuestDisks(diskOptions(compute), logger)
      const client = connectLibvirt(config, logger, losses)
      return new LibvirtVirtDriver(client, disks, hostOptions(config), liveMigrationOptions(compute))
    }
    default:
      return compute.driver satisfies never
  }
}

/** What the simulated machine is like. @throws InvalidConfiguration */
export function simulatedHost({ compute, fake }: Config): FakeHostOptions {
  const byOperator = defaultMachineType(compute, 'x86_64')
  if (byOperator !== undefined) refuseUnknownMachine('compute.hw_machine_type of x86_64', byOperator, { has_q35: true })
  return {
    ...fake,
    default_machine_type: byOperator ?? fake.default_machine_type,
    firmware_files: domainOptions(compute).firmwareFiles,
  }
}

/** The daemon of the real host: connected in the background, and again after each loss. @throws InvalidConfiguration */
export function connectLibvirt({ libvirt }: Config, logger: Logger, losses?: Losses): Libvirt {
  return new Libvirt({
    uri: libvirt.uri,
    pki: { caFile: libvirt.ca_file, certFile: libvirt.cert_file, keyFile: libvirt.key_file },
    controlTimeoutMs: libvirt.control_timeout_seconds * 1000,
    queryTimeoutMs: libvirt.query_timeout_seconds * 1000,
    onTrouble: (trouble) => {
      logger.warn({ code: trouble.code, uri: libvirt.uri }, trouble.message)
      void losses?.lost(trouble)
    },
    onTroubleEnd: () => {
      logger.info({ uri: libvirt.uri }, 'connected to libvirt again')
      losses?.back()
    },
  })
}
