import { HostCapabilityMissing } from '../../../errors.ts'
import { requestedFirmware } from '../../../objects/firmware-request.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../../../objects/mem-encryption.ts'
import type { FirmwareSpec } from '../domain-spec.ts'
import type { GuestSpec } from '../guest-spec.ts'
import type { HostCapabilities } from '../host-capabilities.ts'
import type { Configurator } from './configurator.ts'

/**
 * UEFI for encrypted guests and images that ask for it, else BIOS. libvirt picks the files whose descriptor has what the
 * guest needs (`amd-sev`, `amd-sev-es`, `amd-sev-snp`); where no descriptor has it, those that the operator names.
 */
export const firmware: Configurator = (domain, guest, host) => {
  const asked = requestedFirmware(guest.image)
  if (guest.encryption === undefined && asked.type !== 'uefi') return domain
  const rules = guest.encryption && MEM_ENCRYPTION_MODELS[guest.encryption.model]
  const stateless = asked.stateless || rules?.needsStatelessFirmware === true
  const found = picked(host, rules?.firmwareFeature, stateless) ?? named(guest, stateless)
  if (found !== undefined) return { ...domain, os: { ...domain.os, firmware: found } }
  const kind = rules === undefined ? 'UEFI firmware' : `UEFI firmware for ${rules.label}`
  const fix = `install OVMF with firmware descriptors (/usr/share/qemu/firmware), or name its files in ${stateless ? 'compute.uefi_stateless_loader' : 'compute.uefi_loader and compute.uefi_nvram_template'}`
  throw new HostCapabilityMissing(`this host has no ${kind} that libvirt knows; ${fix}`, { fix })
}

/** Descriptors that nobody could read may have everything: then libvirt is asked, and says so itself. */
function picked(host: HostCapabilities, feature: string | undefined, stateless: boolean): FirmwareSpec | undefined {
  if (!host.supportsUefi) return undefined
  const features = stateless ? host.statelessFirmwareFeatures : host.firmwareFeatures
  if (feature !== undefined && features !== undefined && !features.includes(feature)) return undefined
  return { kind: 'efi', stateless }
}

function named({ folder, options, encryption }: GuestSpec, stateless: boolean): FirmwareSpec | undefined {
  const { loader, nvramTemplate: template, statelessLoader } = options.firmwareFiles
  if (stateless) return statelessLoader === undefined ? undefined : keepingNothing(statelessLoader, encryption?.model)
  if (loader === undefined || template === undefined) return undefined
  return { kind: 'files', loader, nvram: { file: `${folder}/nvram.fd`, template } }
}

/** SEV-SNP guests have no flash (`firmware-descriptors.ts` says why): theirs is a ROM. */
function keepingNothing(loader: string, model: MemEncryptionModel | undefined): FirmwareSpec {
  return model === 'amd-sev-snp' ? { kind: 'rom', loader } : { kind: 'files', loader, nvram: undefined }
}
