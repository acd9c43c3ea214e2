import { MEM_ENCRYPTION_MODELS, MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { demandOf, type Wanted } from './doctor-options.ts'
import { type Check, type Finding, fail, pass, warn } from './finding.ts'
import { isAtLeast, type Part, REQUIREMENTS } from './requirements.ts'

/** Judges a version by the models that it is new enough for. */
export function checkVersion(check: Check, part: Part, found: string, options: Wanted): Finding {
  const lacking = MemEncryptionModel.options.filter((model) => !isAtLeast(found, REQUIREMENTS[model][part]))
  const enough = MemEncryptionModel.options.filter((model) => !lacking.includes(model))
  const meaning = [
    ...(enough.length > 0 ? [`new enough for ${labels(enough)}`] : []),
    ...lacking.map((model) => `${MEM_ENCRYPTION_MODELS[model].label} needs ${REQUIREMENTS[model][part]}`),
  ].join('; ')
  const missed = lacking.filter((model) => ['required', 'asked for'].includes(demandOf(model, options)))
  if (enough.length > 0 && missed.length === 0) return pass(check, found, meaning)
  const wanted = missed.at(-1) ?? 'amd-sev'
  const fix = `update it to ${REQUIREMENTS[wanted][part]} or later, for ${MEM_ENCRYPTION_MODELS[wanted].label}`
  const isBad = enough.length === 0 || missed.some((model) => demandOf(model, options) === 'required')
  return isBad ? fail(check, found, meaning, fix) : warn(check, found, meaning, fix)
}

function labels(models: readonly MemEncryptionModel[]): string {
  return models.map((model) => MEM_ENCRYPTION_MODELS[model].label).join(', ')
}
