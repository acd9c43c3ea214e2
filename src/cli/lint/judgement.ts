import { domainOptions } from '../../compose/host-options.ts'
import { buildDomain } from '../../compute/libvirt/build-domain.ts'
import type { Config } from '../../config.ts'
import { type SevbusError, toSevbusError } from '../../errors.ts'
import type { Flavor } from '../../objects/flavor.ts'
import type { ImageMeta } from '../../objects/image-meta.ts'
import { type LaunchChoice, launchProblems, launchRequest } from '../../objects/launch-request.ts'
import type { MemEncryption } from '../../objects/mem-encryption.ts'
import type { MemoryPageSize } from '../../objects/memory-page-size.ts'
import { RequestSpec } from '../../objects/request-spec.ts'
import { requestedTraits } from '../../objects/requested-traits.ts'
import { launchFlavor, resourceRequest } from '../../objects/resource-request.ts'
import { MEMORY_MB } from '../../objects/resources.ts'
import { defaultFilters } from '../../scheduler/filters/default-filters.ts'
import { schedulingRequest } from '../../scheduler/scheduling-request.ts'
import { draftGuest, NO_UUID } from './draft-guest.ts'
import { type DescribedHost, emptyHost } from './host-file.ts'

/** What a boot of this flavor with this image would come to. Field names are the wire's. */
export interface Judgement {
  readonly verdict: 'ok' | 'refused'
  readonly flavor: string
  readonly image: string | null
  readonly problems: readonly Problem[]
  /** Null when it is refused before anything is asked for. */
  readonly request: AskedFor | null
  /** Null without a host, or without a request. */
  readonly host: HostJudgement | null
  /** Where flavor and image name several models: the others, each asked for when no host has those before it. */
  readonly alternatives: readonly Alternative[]
}

export interface Alternative {
  readonly request: AskedFor
  readonly host: HostJudgement | null
}

export interface Problem {
  readonly code: string
  readonly message: string
  readonly fix: string | null
  readonly details: Readonly<Record<string, unknown>>
}

export interface AskedFor {
  readonly mem_encryption: MemEncryption | null
  readonly placement: {
    readonly resources: Readonly<Record<string, number>>
    readonly required_traits: readonly string[]
    readonly forbidden_traits: readonly string[]
  }
  /** Of this launch's flavor; those that the flavor has not itself are the translation. */
  readonly extra_specs: Readonly<Record<string, string>>
  readonly memory: {
    readonly flavor_mb: number
    readonly overhead_mb: number
    readonly claimed_mb: number
    /** `<locked/>`: by the domain. */
    readonly locked: boolean
    /** Never overcommitted: by placement. */
    readonly pinned: boolean
    readonly page_size: MemoryPageSize | null
  }
}

export interface HostJudgement {
  readonly host: string
  readonly takes_it: boolean
  readonly rejections: readonly { readonly by: string; readonly reason: string; readonly fix: string | null }[]
}

/** Asks those who would be asked at a boot: the door of the conductor, the scheduler's filters, the domain builder. */
export function judge(flavor: Flavor, image: ImageMeta, config: Config, host?: DescribedHost): Judgement {
  const problems = launchProblems(flavor, image).map(asProblem)
  const names = { flavor: flavor.name, image: image.name ?? image.id ?? null }
  if (problems.length > 0) {
    return { verdict: 'refused', ...names, problems, request: null, host: null, alternatives: [] }
  }
  const judged = (choice: LaunchChoice): Alternative => {
    const request = askedFor(flavor, image, choice, config)
    return { request, host: host ? judgeHost(flavor, image, request.mem_encryption, config, host) : null }
  }
  const [first, ...others] = launchRequest(flavor, image).choices
  const best = judged(first)
  const alternatives = others.map(judged)
  const isTaken = [best, ...alternatives].some((choice) => choice.host?.takes_it !== false)
  return { verdict: isTaken ? 'ok' : 'refused', ...names, problems, ...best, alternatives }
}

function asProblem({ code, message, details }: SevbusError): Problem {
  const { fix } = details
  return { code, message, fix: typeof fix === 'string' ? fix : null, details }
}

function askedFor(
  flavor: Flavor,
  image: ImageMeta,
  { encryption: asked, memoryBacking }: LaunchChoice,
  { scheduler }: Config,
): AskedFor {
  const encryption = asked ?? null
  const { locked, pageSize } = memoryBacking
  const overheadMb = scheduler.mem_encryption_overhead_mb
  const traits = requestedTraits(flavor, image)
  const { root, pool, pinsMemory } = resourceRequest(flavor, encryption, { locked, overheadMb, traits })
  const claimed = root[MEMORY_MB] ?? 0
  return {
    mem_encryption: encryption,
    placement: {
      resources: { ...root, ...pool?.resources },
      required_traits: [...(pool ? [pool.trait] : []), ...(traits?.required ?? [])],
      forbidden_traits: traits?.forbidden ?? [],
    },
    extra_specs: launchFlavor(flavor, encryption).extra_specs,
    memory: {
      flavor_mb: flavor.memory_mb,
      overhead_mb: claimed - flavor.memory_mb,
      claimed_mb: claimed,
      locked,
      pinned: pinsMemory,
      page_size: pageSize ?? null,
    },
  }
}

/** Every filter that says no, not only the first; the domain is built when all would let it pass. */
function judgeHost(
  flavor: Flavor,
  image: ImageMeta,
  encryption: MemEncryption | null,
  config: Config,
  described: DescribedHost,
): HostJudgement {
  const spec = RequestSpec.parse({
    instance_uuid: NO_UUID,
    attempt: 1,
    project_id: null,
    user_id: null,
    flavor: launchFlavor(flavor, encryption),
    image,
    mem_encryption: encryption,
  })
  const request = schedulingRequest(spec, config.scheduler.mem_encryption_overhead_mb)
  const state = emptyHost(described, config)
  const rejections = defaultFilters().flatMap(({ name, fix = null, reject }) => {
    const reason = reject(state, request)
    return reason === undefined ? [] : [{ by: name, reason, fix }]
  })
  if (rejections.length === 0) rejections.push(...refusalsOfDomain(flavor, image, encryption, config, described))
  return { host: described.host, takes_it: rejections.length === 0, rejections }
}

function refusalsOfDomain(
  flavor: Flavor,
  image: ImageMeta,
  encryption: MemEncryption | null,
  { compute }: Config,
  { capabilities }: DescribedHost,
) {
  try {
    buildDomain(draftGuest({ flavor, image, encryption, options: domainOptions(compute) }), capabilities)
    return []
  } catch (thrown) {
    const { code, message, fix } = asProblem(toSevbusError(thrown))
    return [{ by: code, reason: message, fix }]
  }
}
