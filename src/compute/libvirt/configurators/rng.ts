import { requestedRng } from '../../../objects/rng-request.ts'
import type { Configurator } from './configurator.ts'

/** Nova's `rng_dev_path`. */
const SOURCE = '/dev/urandom'

/** Entropy for the guest, unless its flavor forbids it. */
export const rng: Configurator = (domain, { flavor }) => {
  const wanted = requestedRng(flavor)
  return wanted === undefined ? domain : { ...domain, rng: { source: SOURCE, rate: wanted.rate, iommu: false } }
}
