import type { HostFilter } from './host-filter.ts'

/** Drops hosts without UEFI firmware when the image boots with it. */
export const uefi: HostFilter = {
  name: 'Uefi',
  fix: 'install UEFI firmware for guests (OVMF) on the host',
  reject: ({ supportsUefi }, { spec }) =>
    spec.image.properties.hw_firmware_type === 'uefi' && !supportsUefi
      ? 'has no UEFI firmware, which the image asks for (hw_firmware_type=uefi)'
      : undefined,
}
