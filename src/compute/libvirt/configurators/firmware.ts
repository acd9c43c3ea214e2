import { HostCapabilityMissing } from '../../../errors.ts'
import { imageLabel } from '../../../objects/image-meta.ts'
import { MEM_ENCRYPTION_MODELS } from '../../../objects/mem-encryption.ts'
import { spelledBoolean, spelledChoice } from '../../../objects/spelled-value.ts'
import type { Configurator } from './configurator.ts'

/**
 * UEFI for encrypted guests and images that ask for it, else BIOS. No file is named: libvirt picks the firmware whose
 * descriptor has what the guest needs (`amd-sev`, `amd-sev-es`, `amd-sev-snp`).
 */
export const firmware: Configurator = (domain, guest, host) => {
  const owner = imageLabel(guest.image)
  const { hw_firmware_type: type, hw_firmware_stateless: stateless } = guest.image.properties
  const asked = spelledChoice(owner, 'hw_firmware_type', type, ['bios', 'uefi'])
  const needsStateless =
    guest.encryption !== undefined && MEM_ENCRYPTION_MODELS[guest.encryption.model].needsStatelessFirmware
  const isStateless = needsStateless || spelledBoolean(owner, 'hw_firmware_stateless', stateless) === true
  const efi = guest.encryption !== undefined || asked === 'uefi'
  if (efi && !host.supportsUefi) {
    throw new HostCapabilityMissing('this host has no UEFI firmware that libvirt knows', {
      fix: 'install OVMF with its firmware descriptors (/usr/share/qemu/firmware)',
    })
  }
  return { ...domain, os: { ...domain.os, firmware: efi ? 'efi' : 'bios', stateless: efi && isStateless } }
}
