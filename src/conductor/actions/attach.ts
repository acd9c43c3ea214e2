import type { z } from 'zod'
import { InvalidArguments } from '../../errors.ts'
import { refuseEncrypted } from '../../objects/action-rules.ts'
import type { AttachedInterface } from '../../objects/attached-devices.ts'
import { volumeBus } from '../../objects/attachment-rules.ts'
import type { Instance } from '../../objects/instance.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import type { actionMethods } from '../action-methods.ts'
import { findInstance } from '../instance-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { acceptAction } from './accept-action.ts'

type AskedVolume = Omit<z.output<(typeof actionMethods)['attachVolume']['input']>, 'instance_uuid'>
type AskedInterface = Omit<z.output<(typeof actionMethods)['attachInterface']['input']>, 'instance_uuid'>

/** @throws what `acceptAction` throws; InvalidArguments for IDE */
export async function attachVolume(
  ports: ConductorPorts,
  context: RequestContext,
  uuid: string,
  { volume_id, path, bus }: AskedVolume,
): Promise<Instance> {
  if (bus === 'ide') {
    const fix = 'take virtio or scsi'
    const why = 'QEMU plugs nothing in on IDE, and the machines of encrypted guests have none'
    throw new InvalidArguments(`bus is ide, but ${why}; ${fix}`, { field: 'bus', value: bus, fix })
  }
  const { instance } = await findInstance(ports.database, uuid)
  const volume = { volume_id: volume_id.toLowerCase(), path, bus: bus ?? volumeBus(instance) }
  return acceptAction(ports, context, uuid, { name: 'attach_volume', volume })
}

/** @throws what `acceptAction` throws; InvalidArguments and OperationNotSupportedForSEV for devices of the host */
export async function attachInterface(
  ports: ConductorPorts,
  context: RequestContext,
  uuid: string,
  asked: AskedInterface,
): Promise<Instance> {
  const { instance } = await findInstance(ports.database, uuid)
  refuseHostDevice(instance, asked)
  const mac = asked.mac.toLowerCase()
  const { address, version, label } = asked
  const ip_address = address === undefined ? null : { address, version, mac, label }
  return acceptAction(ports, context, uuid, {
    name: 'attach_interface',
    interface: { mac, source: sourceOf(asked), ip_address },
  })
}

/** An encrypted guest can have none: its memory is not the device's to read. Nobody else is given one, either. */
function refuseHostDevice(instance: Instance, { vnic_type: value }: AskedInterface): void {
  if (value === 'normal') return
  refuseEncrypted(instance, `attach_interface with vnic_type=${value}`)
  const fix = 'leave it out'
  const why = 'no host here gives a device of its own to a guest'
  throw new InvalidArguments(`vnic_type is ${value}, but ${why}; ${fix}`, { field: 'vnic_type', value, fix })
}

function sourceOf({ network, bridge }: AskedInterface): AttachedInterface['source'] {
  if (network !== undefined && bridge !== undefined) {
    const fix = 'name one of them, or neither'
    throw new InvalidArguments(`network is ${network} and bridge is ${bridge}; ${fix}`, {
      field: 'bridge',
      value: bridge,
      fix,
    })
  }
  if (network !== undefined) return { kind: 'network', network }
  return bridge === undefined ? null : { kind: 'bridge', bridge }
}
