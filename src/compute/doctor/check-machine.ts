import { isQ35 } from '../../objects/machine-type.ts'
import type { HypervisorAnswers } from './ask-hypervisor.ts'
import type { Examination } from './examination.ts'
import { type Finding, fail, pass, skip, warn } from './finding.ts'

const Q35 = { check: 'q35', title: 'machine type q35' }
const DEFAULT = { check: 'default_machine_type', title: 'default machine' }
const DISKS = { check: 'boot_disk_bus', title: 'SCSI disks' }
const NETWORK = { check: 'network', title: "guests' network" }

export function checkMachine({ host: { hypervisor }, options }: Examination): readonly Finding[] {
  if (!('documents' in hypervisor)) return [skip(Q35, 'not judged', 'libvirt does not answer')]
  return [checkQ35(hypervisor), checkDefault(hypervisor), checkDisks(hypervisor), checkNetwork(hypervisor, options)]
}

function checkQ35({ machineTypes, documents }: HypervisorAnswers): Finding {
  const document = documents.find(({ machine }) => machine !== undefined && isQ35(machine))
  if (machineTypes.some(isQ35)) return pass(Q35, document?.machine ?? 'q35', 'what encrypted guests run on')
  return fail(Q35, 'not there', 'encrypted guests run on q35 only', 'install a QEMU that has it')
}

function checkDefault({ defaultMachineType: value }: HypervisorAnswers): Finding {
  if (isQ35(value)) return pass(DEFAULT, value, 'images that leave the machine type open can be encrypted here')
  const meaning = 'images that leave it open run on that, so encrypted ones are not sent here'
  const fix = 'set compute.hw_machine_type = ["x86_64=q35"], or hw_machine_type=q35 on such images'
  return warn(DEFAULT, value, meaning, fix)
}

function checkDisks({ documents }: HypervisorAnswers): Finding {
  const document = documents.find(({ machine }) => machine?.includes('q35')) ?? documents[0]
  const buses = document?.diskBuses
  if (buses === undefined) return skip(DISKS, 'not told', 'libvirt names no buses of disks')
  const value = buses.join(', ')
  if (buses.includes('scsi')) return pass(DISKS, value, 'encrypted guests boot from virtio-scsi')
  return fail(DISKS, value, 'encrypted guests boot from virtio-scsi', 'install the QEMU that has it')
}

function checkNetwork({ networkIsActive: answer }: HypervisorAnswers, { network }: Examination['options']): Finding {
  if (network.kind === 'none') return skip(NETWORK, 'none', 'compute.network is none: guests have no interfaces')
  if (network.kind === 'bridge')
    return skip(NETWORK, `bridge ${network.bridge}`, 'QEMU plugs guests in when they start')
  const value = `${network.network}: ${answer === true ? 'active' : answer === false ? 'not active' : 'unknown to libvirt'}`
  if (answer === true) return pass(NETWORK, value, 'guests are plugged in there')
  const meaning = typeof answer === 'string' ? answer : 'guests with an interface do not start'
  const fix = `virsh net-start ${network.network} && virsh net-autostart ${network.network}; or set compute.network, compute.bridge`
  return fail(NETWORK, value, meaning, fix)
}
