import { deviceChoice } from '../../../objects/device-choices.ts'
import type { InputSpec } from '../domain-spec.ts'
import type { Configurator } from './configurator.ts'

/** A tablet and a keyboard on the bus that the image names, or Nova's older word for a tablet alone; else none. */
export const inputs: Configurator = (domain, { image }) => {
  const bus = deviceChoice(image, 'hw_input_bus')
  const pointer = deviceChoice(image, 'hw_pointer_model')
  const types: readonly InputSpec['type'][] =
    bus !== undefined ? ['tablet', 'keyboard'] : pointer === 'usbtablet' ? ['tablet'] : []
  return { ...domain, inputs: types.map((type) => ({ type, bus: bus ?? 'usb', iommu: false })) }
}
