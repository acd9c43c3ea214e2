import type { Examination } from './examination.ts'
import { type Finding, fail, pass, warn } from './finding.ts'
import { type DeviceNode, readValue, unknown } from './reading.ts'

const KVM = { check: 'dev_kvm', title: '/dev/kvm' }
const SEV = { check: 'dev_sev', title: '/dev/sev' }

/** Both are miscellaneous devices. Source: Linux, Documentation/admin-guide/devices.txt */
const MISC_MAJOR = 10

export function checkKvmDevice({ host: { kvmDevice, hypervisor }, options }: Examination): Finding {
  if (options.hostOptions.virtType === 'qemu') {
    return fail(
      KVM,
      'not used',
      'compute.virt_type is qemu: nothing is encrypted then',
      'set compute.virt_type = "kvm"',
    )
  }
  if (kvmDevice.state === 'unreadable') return unknown(KVM, kvmDevice, 'look below /dev, and check libvirt.host_root')
  if (kvmDevice.state === 'absent') {
    return fail(
      KVM,
      'not there',
      'guests run without KVM, and none encrypted',
      'enable SVM in the BIOS; modprobe kvm_amd',
    )
  }
  const { isCharacter, major, mode } = kvmDevice.value
  if (!isCharacter || major !== MISC_MAJOR) {
    const fix = 'rm /dev/kvm, and load the module anew: modprobe kvm_amd'
    return fail(KVM, shown(kvmDevice.value), "not KVM's device: that has major number 10", fix)
  }
  // Where libvirt answers for KVM its QEMU has opened it.
  if (!isForOthers(mode) && !('documents' in hypervisor)) {
    return warn(
      KVM,
      shown(kvmDevice.value),
      'its owner alone may open it: QEMU, which has a user of its own under libvirt, has no KVM then',
      'chgrp kvm /dev/kvm; chmod 660 /dev/kvm; and QEMU in that group (udev rules of its package do both)',
    )
  }
  return pass(KVM, shown(kvmDevice.value), 'the kernel runs guests')
}

export function checkSevDevice({ host }: Examination): Finding {
  const { sevDevice } = host
  if (sevDevice.state === 'unreadable') return unknown(SEV, sevDevice, 'look below /dev, and check libvirt.host_root')
  if (sevDevice.state === 'absent') {
    const isAmd = readValue(host.processor)?.vendor === 'AuthenticAMD'
    const meaning = "the kernel has no way to AMD's secure processor (PSP)"
    const fix = isAmd
      ? 'BIOS: enable the PSP; modprobe ccp; install its firmware (linux-firmware, amd/); dmesg | grep -i ccp says why not'
      : 'nothing to do here: there is none beside this processor'
    return fail(SEV, 'not there', meaning, fix)
  }
  const { isCharacter, major } = sevDevice.value
  if (isCharacter && major === MISC_MAJOR) {
    return pass(SEV, shown(sevDevice.value), "the way to AMD's secure processor; libvirt gives it to each QEMU")
  }
  return fail(
    SEV,
    shown(sevDevice.value),
    'not the secure processor: its device has major number 10. Whatever answers there encrypts nothing',
    'end the emulation (sev-emulator/) where guests matter; rm /dev/sev, and load ccp anew',
  )
}

/** To its group, or to everybody, to read and write. */
function isForOthers(mode: string): boolean {
  const bits = Number.parseInt(mode, 8)
  return (bits & 0o060) === 0o060 || (bits & 0o006) === 0o006
}

function shown({ isCharacter, major, minor, mode }: DeviceNode): string {
  return isCharacter ? `character device ${major}:${minor}, mode ${mode}` : `no device, mode ${mode}`
}
