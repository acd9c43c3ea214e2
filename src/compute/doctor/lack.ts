import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { demandOf, type Wanted } from './doctor-options.ts'
import { type Check, type Finding, fail, skip, warn } from './finding.ts'

export interface Lack {
  readonly value: string
  readonly meaning: string
  readonly fix: string
}

/** A model that is missing is as bad as it is wanted: a host need not have what nobody asks for. */
export function lackOf(model: MemEncryptionModel, check: Check, options: Wanted, lack: Lack): Finding {
  const { value, meaning, fix } = lack
  const { label, excludes } = MEM_ENCRYPTION_MODELS[model]
  switch (demandOf(model, options)) {
    case 'required':
      return fail(check, value, `${meaning}; ${label} is required of this host`, fix)
    case 'asked for':
      return warn(check, value, `${meaning}; flavors of the configuration ask for ${label}`, fix)
    case 'excluded':
      return skip(check, value, `${meaning}; the host offers ${labelOf(excludes)}, and runs one of the two`)
    case 'optional':
      return skip(check, value, `${meaning}; nothing in the configuration asks for ${label}`)
  }
}

function labelOf(model: MemEncryptionModel | undefined): string {
  return model === undefined ? 'another' : MEM_ENCRYPTION_MODELS[model].label
}
