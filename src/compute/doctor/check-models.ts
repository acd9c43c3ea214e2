import { MEM_ENCRYPTION_MODELS, MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { UNKNOWN_SLOTS } from '../libvirt/domain-capabilities.ts'
import type { HostCapabilities } from '../libvirt/host-capabilities.ts'
import { type LimitedCapabilities, limitSlots } from '../libvirt/slot-limits.ts'
import type { Wanted } from './doctor-options.ts'
import { type Check, type Finding, fail, pass, skip, warn } from './finding.ts'
import { lackOf } from './lack.ts'

const LIMITS = { check: 'slot_limits', title: 'slot limits' }

function ofModel(model: MemEncryptionModel): Check {
  return { check: `offers_${model.replaceAll('-', '_')}`, title: `offers ${MEM_ENCRYPTION_MODELS[model].label}` }
}

/** What a worker of this configuration would publish: the sum of all that is above. */
export function checkModels(detected: HostCapabilities, options: Wanted): readonly Finding[] {
  const limited = limitSlots(detected, options.limits)
  return [
    ...MemEncryptionModel.options.map((model) => checkModel(model, limited, options)),
    ...limited.warnings.map((warning) => {
      const [problem = warning, fix = 'remove the option'] = warning.split(/: (?=it is no longer|lower or)/)
      return warn(LIMITS, 'an option that has no effect', problem, fix.replace('it is no longer needed', 'remove it'))
    }),
  ]
}

export function modelsUntold(reason: string): readonly Finding[] {
  return MemEncryptionModel.options.map((model) => skip(ofModel(model), 'not judged', reason))
}

function checkModel(model: MemEncryptionModel, { capabilities }: LimitedCapabilities, options: Wanted): Finding {
  const { slots, missing } = capabilities
  const check = ofModel(model)
  const count = slots[model]
  if (count === UNKNOWN_SLOTS) {
    const fix = 'take libvirt 8.0 or later, which counts them, or set compute.num_memory_encrypted_guests'
    return warn(
      check,
      'slots without a number',
      'libvirt does not tell: a guest beyond the last key fails to start',
      fix,
    )
  }
  if (count !== undefined) return pass(check, `${count} slots`, 'published, and claimed one for each guest')
  const reason = missing[model] ?? 'the reason is not told'
  const [problem = reason, remedy] = reason.split(/: (?=load|install|set|raise|lower|libvirt)/)
  const fix = remedy ?? 'mend what fails above'
  if (Object.keys(slots).length === 0 && model === 'amd-sev') {
    return fail(check, 'no', `${problem}. The host takes no encrypted guests at all`, fix)
  }
  return lackOf(model, check, options, { value: 'no', meaning: problem, fix })
}
