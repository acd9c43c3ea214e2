import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { ClaimRefused, NoValidHost } from '../../src/errors.ts'
import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { RequestSpec, type Selection } from '../../src/objects/request-spec.ts'
import { requestFlavor } from '../../src/objects/resource-request.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { defaultFilters } from '../../src/scheduler/filters/default-filters.ts'
import { SchedulerManager } from '../../src/scheduler/manager.ts'
import { firstModel, reportOfModel, requestsByModel } from '../../src/scheduler/models-in-order.ts'
import { DatabasePlacement } from '../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../src/scheduler/placement/schema.ts'
import type { SchedulingRequest } from '../../src/scheduler/scheduling-request.ts'
import { defaultWeighers } from '../../src/scheduler/weighers/default-weighers.ts'
import { databaseEngines } from '../support/databases.ts'
import { aHostReport } from '../support/host-reports.ts'
import { aFlavor, anImage } from '../support/requests.ts'
import { aRequestSpec, INSTANCE_UUID } from './builders.ts'

const SNP = { model: 'amd-sev-snp', policy: '0x00030000', requested_by: 'flavor' } as const
const ES = { model: 'amd-sev-es', policy: '0x0037', requested_by: 'flavor' } as const

/** SNP, else ES. */
function snpElseEs(more: Partial<RequestSpec> = {}): RequestSpec {
  const flavor = aFlavor({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-snp,amd-sev-es' })
  return RequestSpec.parse({
    instance_uuid: INSTANCE_UUID,
    attempt: 1,
    project_id: null,
    user_id: null,
    flavor: requestFlavor(flavor, [SNP, ES]),
    image: anImage({ hw_firmware_type: 'uefi', hw_firmware_stateless: true, hw_machine_type: 'q35' }),
    mem_encryption: SNP,
    ...more,
  })
}

/** Answers like a choice among hosts of which none, or one, has the model. */
function hostsThatGive(given: MemEncryptionModel | undefined, asked: (string | undefined)[] = []) {
  return async (request: SchedulingRequest): Promise<Selection> => {
    const model = request.spec.mem_encryption?.model
    asked.push(model)
    if (model === given) return { host: 'cn-1', attempt: 1, allocations: [], report: reportOfModel(request, WON) }
    throw new NoValidHost(`no valid host for instance ${INSTANCE_UUID}: 3 hosts considered; Slots rejected 3`, {
      instance_uuid: INSTANCE_UUID,
      attempt: 1,
      report: { hosts_considered: 3, ...NO_SLOTS, ranking: [] },
      fix: `give ${model}`,
    })
  }
}
const NO_SLOTS = {
  rejected: [{ filter: 'Slots', hosts: 3 }],
  rejections: [{ host: 'cn-1', filter: 'Slots', reason: 'none' }],
}
const WON = {
  hosts_considered: 1,
  rejected: [],
  rejections: [],
  ranking: [{ host: 'cn-1', weight: 0, weights: {} }],
}

describe('models in order', () => {
  it('ask for each model its own slot and trait, locked memory or not', () => {
    const [snp, es] = requestsByModel(snpElseEs())

    expect(snp?.resources.pool?.trait).toBe('HW_CPU_X86_AMD_SEV_SNP')
    expect(es?.resources.pool?.trait).toBe('HW_CPU_X86_AMD_SEV_ES')
    expect(es?.spec.mem_encryption).toEqual(ES)
    expect(es?.spec.flavor.extra_specs['trait:HW_CPU_X86_AMD_SEV_ES']).toBe('required')
    expect(es?.spec.flavor.extra_specs['trait:HW_CPU_X86_AMD_SEV_SNP']).toBeUndefined()
  })

  it('are none below what a guest has that moves', () => {
    const migration = { uuid: 'aaaaaaaa-0000-4000-8000-000000000001', type: 'evacuation' } as const
    const models = (mem_encryption: RequestSpec['mem_encryption']) =>
      requestsByModel(snpElseEs({ migration, mem_encryption })).map(({ spec }) => spec.mem_encryption?.model)

    expect(models(SNP)).toEqual(['amd-sev-snp'])
    expect(models(ES)).toEqual(['amd-sev-snp', 'amd-sev-es'])
    expect(() => models(null)).toThrow('the instance carries mem_encryption nothing')
  })

  it('are none below what a guest had that was shelved', () => {
    const models = requestsByModel(snpElseEs({ keeps_encryption: true, mem_encryption: SNP }))

    expect(models.map(({ spec }) => spec.mem_encryption?.model)).toEqual(['amd-sev-snp'])
  })

  it('are one request for a guest in clear, and for one model', () => {
    expect(requestsByModel(aRequestSpec()).map(({ spec }) => spec.mem_encryption)).toEqual([null])
    expect(requestsByModel(aRequestSpec({ model: 'amd-sev' })).map(({ spec }) => spec.mem_encryption?.model)).toEqual([
      'amd-sev',
    ])
  })

  it('are all tried whichever of them the question carries, for a retry carries what it had last', () => {
    const models = requestsByModel(snpElseEs({ mem_encryption: ES })).map(({ spec }) => spec.mem_encryption?.model)

    expect(models).toEqual(['amd-sev-snp', 'amd-sev-es'])
  })

  it('take the first model that some host has, and ask no further', async () => {
    const asked: string[] = []

    const { report } = await firstModel(requestsByModel(snpElseEs()), hostsThatGive('amd-sev-snp', asked))

    expect(asked).toEqual(['amd-sev-snp'])
    expect(report).toEqual({ model: 'amd-sev-snp', ...WON })
  })

  it('keep with a lesser model why the better one was not to be had', async () => {
    const { report } = await firstModel(requestsByModel(snpElseEs()), hostsThatGive('amd-sev-es'))

    expect(report).toEqual({
      model: 'amd-sev-es',
      ...WON,
      refused_models: [{ model: 'amd-sev-snp', hosts_considered: 3, ...NO_SLOTS }],
    })
  })

  it('are refused with the reasons and the fix of each', async () => {
    const refusal = await firstModel(requestsByModel(snpElseEs()), hostsThatGive(undefined)).catch((error) => error)

    expect(refusal).toBeInstanceOf(NoValidHost)
    expect(refusal.message).toBe(
      `no valid host for instance ${INSTANCE_UUID}: SEV-SNP: 3 hosts considered, Slots rejected 3; SEV-ES: 3 hosts considered, Slots rejected 3`,
    )
    expect(refusal.details).toEqual({
      instance_uuid: INSTANCE_UUID,
      attempt: 1,
      report: {
        model: 'amd-sev-es',
        hosts_considered: 3,
        ...NO_SLOTS,
        ranking: [],
        refused_models: [{ model: 'amd-sev-snp', hosts_considered: 3, ...NO_SLOTS }],
      },
      fix: 'for SEV-SNP: give amd-sev-snp; or for SEV-ES: give amd-sev-es',
    })
  })

  it('leave the refusal of one model alone as it is', async () => {
    const requests = requestsByModel(aRequestSpec({ model: 'amd-sev' }))

    await expect(firstModel(requests, hostsThatGive(undefined))).rejects.toThrow(
      `no valid host for instance ${INSTANCE_UUID}: 3 hosts considered; Slots rejected 3`,
    )
  })

  it('try no other model when something else than the choice of a host goes wrong', async () => {
    const asked: unknown[] = []
    const broken = async ({ spec }: SchedulingRequest): Promise<Selection> => {
      asked.push(spec.mem_encryption?.model)
      throw new ClaimRefused('out of order')
    }

    await expect(firstModel(requestsByModel(snpElseEs()), broken)).rejects.toBeInstanceOf(ClaimRefused)
    expect(asked).toEqual(['amd-sev-snp'])
  })
})

describe.each(databaseEngines)('models in order over all hosts, on $name', ({ open }) => {
  it('give the better model far away before the lesser one near, then the lesser, and answer a try always alike', async () => {
    await using test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)
    await placement.recordHost(aHostReport('cn-big', { memoryMb: 65_536, slots: { 'amd-sev-es': 9 } }))
    await placement.recordHost(aHostReport('cn-small', { memoryMb: 4096, slots: { 'amd-sev-snp': 1 } }))
    const manager = new SchedulerManager({
      placement,
      filters: defaultFilters(),
      weighers: defaultWeighers(),
      logger: pino({ level: 'silent' }),
    })
    await manager.start()
    await using _ = { [Symbol.asyncDispose]: () => manager.close() }
    const info = { context: newRequestContext(), signal: new AbortController().signal }
    const boot = async (instance_uuid: string) => {
      const { selection } = await manager.selectDestinations({ request_spec: snpElseEs({ instance_uuid }) }, info)
      const slot = selection.allocations.find(({ resource_class }) => resource_class === 'MEM_ENCRYPTION_CONTEXT')
      const refused = selection.report.refused_models?.map(({ model, rejected }) => ({ model, rejected }))
      return { host: selection.host, slot: slot?.provider, encryption: selection.mem_encryption, refused }
    }
    const onSmall = { host: 'cn-small', slot: 'cn-small_amd_sev_snp', encryption: SNP, refused: undefined }
    const onBig = {
      host: 'cn-big',
      slot: 'cn-big_amd_sev_es',
      encryption: ES,
      refused: [
        {
          model: 'amd-sev-snp',
          rejected: [
            { filter: 'MemEncryptionModel', hosts: 1 },
            { filter: 'MemEncryptionSlots', hosts: 1 },
          ],
        },
      ],
    }

    expect(await boot('11111111-1111-4111-8111-111111111111')).toEqual(onSmall)
    expect(await boot('22222222-2222-4222-8222-222222222222')).toEqual(onBig)
    expect(await boot('11111111-1111-4111-8111-111111111111')).toEqual(onSmall)
    expect(await boot('22222222-2222-4222-8222-222222222222')).toEqual(onBig)
  })
})
