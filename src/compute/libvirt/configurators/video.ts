import { deviceChoice } from '../../../objects/device-choices.ts'
import type { Configurator } from './configurator.ts'

/** virtio unless the image says otherwise: UEFI and Linux draw on it, and it is what Nova gives. */
export const video: Configurator = (domain, { image }) => {
  const model = deviceChoice(image, 'hw_video_model') ?? 'virtio'
  return { ...domain, video: model === 'none' ? undefined : { model, iommu: false } }
}
