import { NoValidHost } from '../errors.ts'
import { launchRequest, refuseDisagreement, requestOfMove } from '../objects/launch-request.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../objects/mem-encryption.ts'
import type { RequestSpec, Selection } from '../objects/request-spec.ts'
import { launchFlavor } from '../objects/resource-request.ts'
import { type RefusedModel, SchedulingReport } from '../objects/scheduling-report.ts'
import { type SchedulingRequest, schedulingRequest } from './scheduling-request.ts'

/**
 * One question for each model that will do, best first; one alone for a guest in clear. A guest that moves gets no lesser
 * one than it has.
 *
 * @param overheadMb MiB that an encrypted guest pins beside its own memory
 * @throws InvalidProperty when the question carries another encryption than its flavor and image ask for
 */
export function requestsByModel(spec: RequestSpec, overheadMb?: number): readonly SchedulingRequest[] {
  const asked = launchRequest(spec.flavor, spec.image)
  refuseDisagreement(asked, spec.mem_encryption)
  // A resize is another order, for the flavor that comes with it.
  const keepsFlavor = spec.migration !== undefined && spec.migration.type !== 'resize'
  const { choices } = keepsFlavor || spec.keeps_encryption ? requestOfMove(asked, spec.mem_encryption) : asked
  return choices.map(({ encryption }) => {
    // The translated flavor asks for a slot itself, and so does not tell any more who had asked.
    const requestedBy = spec.mem_encryption?.requested_by
    const mem_encryption = encryption ? { ...encryption, requested_by: requestedBy ?? encryption.requested_by } : null
    return schedulingRequest({ ...spec, mem_encryption, flavor: launchFlavor(spec.flavor, mem_encryption) }, overheadMb)
  })
}

/**
 * Each model in turn over all hosts: a better one far away comes before a lesser one near.
 *
 * @param select @throws NoValidHost when no host can give the model of the request
 * @throws NoValidHost when no host can give any
 */
export async function firstModel(
  requests: readonly SchedulingRequest[],
  select: (request: SchedulingRequest) => Promise<Selection>,
): Promise<Selection> {
  const refusals: Refusal[] = []
  for (const request of requests) {
    const refusedModels = refusals.map(({ report }) => report)
    try {
      return await select(requests.length === 1 ? request : { ...request, refusedModels })
    } catch (error) {
      const model = request.spec.mem_encryption?.model
      if (!(error instanceof NoValidHost) || model === undefined || requests.length === 1) throw error
      refusals.push({ model, error, report: refusedModel(model, error) })
    }
  }
  throw noModel(refusals)
}

interface Refusal {
  readonly model: MemEncryptionModel
  readonly error: NoValidHost
  readonly report: RefusedModel
}

function refusedModel(model: MemEncryptionModel, { details }: NoValidHost): RefusedModel {
  const { hosts_considered, rejected, rejections } = SchedulingReport.parse(details.report)
  return { model, hosts_considered, rejected, rejections }
}

/** One refusal out of those of each model: its report is the last one's, with the others in it. */
function noModel(refusals: readonly Refusal[]): NoValidHost {
  const [last, ...before] = refusals.toReversed() as [Refusal, ...Refusal[]]
  const label = ({ model }: Refusal) => MEM_ENCRYPTION_MODELS[model].label
  const { instance_uuid, attempt } = last.error.details
  const counted = refusals.map((refusal) => `${label(refusal)}: ${countsOf(refusal.report)}`).join('; ')
  return new NoValidHost(`no valid host for instance ${String(instance_uuid)}: ${counted}`, {
    instance_uuid,
    attempt,
    report: { ...last.report, ranking: [], refused_models: before.toReversed().map(({ report }) => report) },
    fix: refusals.map((refusal) => `for ${label(refusal)}: ${String(refusal.error.details.fix)}`).join('; or '),
  })
}

function countsOf({ hosts_considered: considered, rejected }: RefusedModel): string {
  const counts = rejected.map(({ filter, hosts }, index) => `${filter}${index === 0 ? ' rejected' : ''} ${hosts}`)
  return [`${considered} ${considered === 1 ? 'host' : 'hosts'} considered`, ...counts].join(', ')
}

/** The report with what it is about, so that whoever asks again hears the same model. */
export function reportOfModel({ spec, refusedModels }: SchedulingRequest, report: SchedulingReport): SchedulingReport {
  if (spec.mem_encryption === null) return report
  const { model } = spec.mem_encryption
  return { model, ...report, ...(refusedModels && refusedModels.length > 0 && { refused_models: [...refusedModels] }) }
}

/** The answer with what its claim is for: told by its report, where there was a choice. */
export function withEncryption(requests: readonly SchedulingRequest[], selection: Selection): Selection {
  const only = requests.length === 1 ? requests[0] : undefined
  const made = only ?? requests.find(({ spec }) => spec.mem_encryption?.model === selection.report.model)
  return made === undefined ? selection : { ...selection, mem_encryption: made.spec.mem_encryption }
}
