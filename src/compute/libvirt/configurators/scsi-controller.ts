import { imageLabel } from '../../../objects/image-meta.ts'
import { spelledChoice } from '../../../objects/spelled-value.ts'
import type { Configurator } from './configurator.ts'

/** Nova's choices (`nova.objects.fields.SCSIModel`), as libvirt calls them. */
const MODELS = ['virtio-scsi', 'buslogic', 'ibmvscsi', 'lsilogic', 'lsisas1068', 'lsisas1078', 'vmpvscsi'] as const

/** Disks on SCSI need a controller; virtio-scsi unless the image names a model. */
export const scsiController: Configurator = (domain, { image }) => {
  if (!domain.disks.some(({ bus }) => bus === 'scsi')) return domain
  const property = 'hw_scsi_model'
  const model = spelledChoice(imageLabel(image), property, image.properties[property], MODELS) ?? 'virtio-scsi'
  return { ...domain, controllers: [...domain.controllers, { type: 'scsi', index: 0, model, iommu: false }] }
}
