import { MEM_ENCRYPTION_MODELS, MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { effectiveDescriptors } from '../libvirt/firmware-descriptors.ts'
import { type HostFirmware, hostFirmware, lackOfFirmware } from '../libvirt/host-firmware.ts'
import type { Examination } from './examination.ts'
import { type Check, type Finding, fail, pass, skip } from './finding.ts'
import { lackOf } from './lack.ts'

const FILES = { check: 'firmware_files', title: 'firmware files' }
const FOLDERS = '/etc/qemu/firmware and /usr/share/qemu/firmware'

function ofModel(model: MemEncryptionModel): Check {
  return {
    check: `firmware_${model.replaceAll('-', '_')}`,
    title: `firmware for ${MEM_ENCRYPTION_MODELS[model].label}`,
  }
}

/** By the descriptors that libvirt picks from, or by the files that the operator names. */
export function checkFirmware(examination: Examination): readonly Finding[] {
  const { host } = examination
  const { hypervisor, missingFirmwareFiles: missing } = host
  const named = missing.map((file) =>
    fail(FILES, file, 'the configuration names it, and it is not there', 'install it, or correct compute.uefi_…loader'),
  )
  if (!('documents' in hypervisor)) {
    return [
      ...named,
      ...MemEncryptionModel.options.map((model) => skip(ofModel(model), 'not judged', 'libvirt does not answer')),
    ]
  }
  const document = hypervisor.documents.find(({ machine }) => machine?.includes('q35')) ?? hypervisor.documents[0]
  const descriptors = effectiveDescriptors(host.descriptors)
  const { firmwareFiles } = examination.options.hostOptions
  const firmware = hostFirmware({ arch: hypervisor.arch, descriptors, firmwareFiles }, document)
  const count = `${descriptors.length} descriptors`
  return [...named, ...MemEncryptionModel.options.map((model) => checkModel(model, firmware, count, examination))]
}

function checkModel(
  model: MemEncryptionModel,
  firmware: HostFirmware,
  count: string,
  { options }: Examination,
): Finding {
  const check = ofModel(model)
  const { firmwareFeature: feature, needsStatelessFirmware } = MEM_ENCRYPTION_MODELS[model]
  const lack = lackOfFirmware(model, firmware)
  if (lack === undefined) {
    const isNamed = needsStatelessFirmware ? firmware.files.statelessLoader : firmware.files.loader
    return pass(
      check,
      isNamed ?? `a descriptor has ${feature}`,
      isNamed ? 'named by the operator' : `libvirt takes it, of ${count} in ${FOLDERS}`,
    )
  }
  const [problem = lack, remedy] = lack.split(/: (?=install|override)/)
  const fix = remedy ?? 'install OVMF with its descriptors'
  const value = firmware.isFound ? `none of ${count}` : 'none'
  // SEV is what every host is to have, whatever its flavors ask for.
  if (model === 'amd-sev') return fail(check, value, problem, fix)
  return lackOf(model, check, options, { value, meaning: problem, fix })
}
