import { deviceChoice } from '../../../objects/device-choices.ts'
import type { Configurator } from './configurator.ts'

/** Disks on SCSI need a controller; virtio-scsi unless the image names a model. */
export const scsiController: Configurator = (domain, { image }) => {
  if (!domain.disks.some(({ bus }) => bus === 'scsi')) return domain
  const model = deviceChoice(image, 'hw_scsi_model') ?? 'virtio-scsi'
  return { ...domain, controllers: [...domain.controllers, { type: 'scsi', index: 0, model, iommu: false }] }
}
