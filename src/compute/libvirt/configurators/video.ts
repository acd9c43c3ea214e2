import { imageLabel } from '../../../objects/image-meta.ts'
import { spelledChoice } from '../../../objects/spelled-value.ts'
import type { Configurator } from './configurator.ts'

/** Nova's choices, as far as QEMU on x86 has them. */
const MODELS = ['virtio', 'vga', 'cirrus', 'qxl', 'bochs', 'vmvga', 'none'] as const

/** virtio unless the image says otherwise: UEFI and Linux draw on it, and it is what Nova gives. */
export const video: Configurator = (domain, { image }) => {
  const property = 'hw_video_model'
  const model = spelledChoice(imageLabel(image), property, image.properties[property], MODELS) ?? 'virtio'
  return { ...domain, video: model === 'none' ? undefined : { model, iommu: false } }
}
