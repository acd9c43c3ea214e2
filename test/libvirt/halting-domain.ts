import type { PrivateLibvirt } from '../servers/libvirt-daemon.ts'

/** A guest of 64 MiB whose firmware halts: it costs no processor time, and runs on every KVM. */
export function haltingDomain(libvirt: PrivateLibvirt, { uuid, name }: { uuid: string; name: string }): string {
  const { loader, nvramTemplate } = libvirt.firmware
  return `<domain type='${libvirt.virtType}'>
  <name>${name}</name>
  <uuid>${uuid}</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <loader readonly='yes' type='pflash'>${loader}</loader>
    <nvram template='${nvramTemplate}'/>
  </os>
  <features><acpi/></features>
  <devices><memballoon model='none'/></devices>
</domain>`
}
