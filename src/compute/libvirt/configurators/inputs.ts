import { imageLabel } from '../../../objects/image-meta.ts'
import { spelledChoice } from '../../../objects/spelled-value.ts'
import type { InputSpec } from '../domain-spec.ts'
import type { Configurator } from './configurator.ts'

/** A tablet and a keyboard on the bus that the image names, or Nova's older word for a tablet alone; else none. */
export const inputs: Configurator = (domain, { image }) => {
  const owner = imageLabel(image)
  const { hw_input_bus, hw_pointer_model } = image.properties
  const bus = spelledChoice(owner, 'hw_input_bus', hw_input_bus, ['usb', 'virtio'])
  const pointer = spelledChoice(owner, 'hw_pointer_model', hw_pointer_model, ['usbtablet', 'ps2mouse'])
  const types: readonly InputSpec['type'][] =
    bus !== undefined ? ['tablet', 'keyboard'] : pointer === 'usbtablet' ? ['tablet'] : []
  return { ...domain, inputs: types.map((type) => ({ type, bus: bus ?? 'usb', iommu: false })) }
}
