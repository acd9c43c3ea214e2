import { requestedFirmware } from '../../objects/firmware-request.ts'
import { MEM_ENCRYPTION_MODELS } from '../../objects/mem-encryption.ts'
import type { HostFilter } from './host-filter.ts'

/** Drops hosts without UEFI firmware for the guest when its image boots with it; a stateless guest needs another build. */
export const uefi: HostFilter = {
  name: 'Uefi',
  fix: 'install UEFI firmware for such guests (OVMF) on the host, or change hw_firmware_stateless on the image',
  reject: ({ supportsUefi, uefiGuests }, { spec: { image, mem_encryption } }) => {
    const { type, stateless } = requestedFirmware(image)
    if (type !== 'uefi') return undefined
    if (!supportsUefi) return 'has no UEFI firmware, which the image asks for (hw_firmware_type=uefi)'
    const kind = mem_encryption?.model ?? 'plain'
    const kinds = stateless ? uefiGuests?.stateless : uefiGuests?.stateful
    if (kinds === undefined || kinds.includes(kind)) return undefined
    const guests = kind === 'plain' ? 'guests' : `${MEM_ENCRYPTION_MODELS[kind].label} guests`
    return stateless
      ? `has no UEFI firmware for stateless ${guests}, which the image asks for (hw_firmware_stateless=true)`
      : `has no UEFI firmware for ${guests} that keep their variables, and the image asks for no other (hw_firmware_stateless)`
  },
}
