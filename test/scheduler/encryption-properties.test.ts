import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { SevbusError } from '../../src/errors.ts'
import type { HostReport } from '../../src/objects/host-report.ts'
import { launchRequest } from '../../src/objects/launch-request.ts'
import type { MemEncryption, MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { RequestSpec, type Selection } from '../../src/objects/request-spec.ts'
import { launchFlavor, requestFlavor } from '../../src/objects/resource-request.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { defaultFilters } from '../../src/scheduler/filters/default-filters.ts'
import { SchedulerManager } from '../../src/scheduler/manager.ts'
import { DatabasePlacement } from '../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../src/scheduler/placement/schema.ts'
import { defaultWeighers } from '../../src/scheduler/weighers/default-weighers.ts'
import {
  asksForEncryption,
  type Guest,
  guest,
  guestOfSeveralModels,
  optional,
  withoutUndefined,
} from '../support/arbitrary-guests.ts'
import { databaseEngines } from '../support/databases.ts'
import { aHostReport } from '../support/host-reports.ts'
import { aFlavor, anImage } from '../support/requests.ts'
import { runs } from '../support/runs.ts'

const slots = optional(fc.integer({ min: 1, max: 3 }), 60)
const EVERY_TYPE = ['q35', 'pc', 'pc-q35-7.2', 'pc-q35-8.2']
const host = fc.record({
  'amd-sev': slots,
  'amd-sev-es': slots,
  'amd-sev-snp': slots,
  machineType: fc.constantFrom('q35', 'pc', 'pc-q35-7.2'),
  machineTypes: fc.constantFrom(EVERY_TYPE, EVERY_TYPE, ['pc'], []),
  uefi: fc.constantFrom(true, true, false),
  ramRatio: fc.constantFrom(1, 1.5),
  memoryMb: fc.integer({ min: 1024, max: 4096 }),
})

const TRAITS: Readonly<Record<MemEncryptionModel, string>> = {
  'amd-sev': 'HW_CPU_X86_AMD_SEV',
  'amd-sev-es': 'HW_CPU_X86_AMD_SEV_ES',
  'amd-sev-snp': 'HW_CPU_X86_AMD_SEV_SNP',
}

describe('whatever flavor and image say', () => {
  it('who asked is encrypted or refused, and who did not is in clear or refused', () => {
    fc.assert(
      fc.property(guest, (one) => {
        const encryptions = encryptionsOf(one)

        if (encryptions === 'refused') return
        expect(encryptions.length > 0).toBe(asksForEncryption(one))
      }),
      { numRuns: runs(1000) },
    )
  })

  it('the translation asks for one slot and the trait of the model in the launch, and leaves the flavor as it is', () => {
    fc.assert(
      fc.property(guest, (one) => {
        const encryptions = encryptionsOf(one)
        if (encryptions === 'refused') return
        const before = structuredClone(one.flavor)
        const asked = requestFlavor(one.flavor, encryptions)

        // What was translated says the same once more: nobody along the way reads it otherwise.
        expect(encryptionsOf({ ...one, flavor: asked })).toMatchObject(
          encryptions.map(({ model, policy }) => ({ model, policy })),
        )
        expect(launchFlavor(one.flavor, null)).toEqual(before)
        for (const encryption of encryptions) {
          expect(launchFlavor(one.flavor, encryption).extra_specs).toMatchObject({
            'resources:MEM_ENCRYPTION_CONTEXT': '1',
            [`trait:${TRAITS[encryption.model]}`]: 'required',
          })
        }
        expect(one.flavor).toEqual(before)
      }),
      { numRuns: 500 },
    )
  })
})

describe.each(databaseEngines)('whatever guests and hosts there are, on $name', ({ open }) => {
  it('no guest gets a host without its pool, two slots, or encryption that it did not ask for; none that asked goes without', async () => {
    await using test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)
    const booted = { encrypted: 0, another: 0, clear: 0, not: 0 }

    await fc.assert(
      fc.asyncProperty(
        fc.array(host, { minLength: 1, maxLength: 3 }),
        fc.array(fc.oneof({ weight: 1, arbitrary: guest }, { weight: 1, arbitrary: guestOfSeveralModels }), {
          minLength: 1,
          maxLength: 8,
        }),
        async (hosts, guests) => {
          await test.database.query(`delete from allocations; delete from consumers; delete from inventories;
            delete from resource_providers; delete from compute_hosts`)
          const reports = hosts.map(reportOf)
          for (const report of reports) await placement.recordHost(report)

          for (const one of guests) booted[await boot(placement, one, reports)]++

          expect(await overdrawn(test.database)).toEqual([])
          expect(await inBothModes(test.database)).toEqual([])
        },
      ),
      { numRuns: runs(40) },
    )
    // Otherwise it would have proved nothing.
    expect(booted.encrypted).toBeGreaterThan(0)
    expect(booted.another).toBeGreaterThan(0)
    expect(booted.clear).toBeGreaterThan(0)
  })

  it('a question that has lost its encryption on the way is refused, and gets no host', async () => {
    await using test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)
    await placement.recordHost(aHostReport('cn-1', { slots: { 'amd-sev': 5, 'amd-sev-es': 5 } }))
    const one = { flavor: aFlavor({ 'hw:mem_encryption': 'true' }), image: anImage() }
    const es = { model: 'amd-sev-es', policy: '0x0037', requested_by: 'flavor' } as const
    const weak = { model: 'amd-sev', policy: '0x0000', requested_by: 'flavor' } as const

    const snp = { model: 'amd-sev-snp', policy: '0x00030000', requested_by: 'flavor' } as const
    const either = {
      ...one,
      flavor: aFlavor({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-es,amd-sev' }),
    }

    for (const carried of [null, es, weak]) {
      await expect(selected(managerOf(placement), one, [], carried)).rejects.toMatchObject({ code: 'INVALID_PROPERTY' })
    }
    for (const carried of [null, snp, weak]) {
      await expect(selected(managerOf(placement), either, [], carried)).rejects.toMatchObject({
        code: 'INVALID_PROPERTY',
      })
    }
    expect((await placement.hostStates())[0]).toMatchObject({ instances: 0 })
  })
})

/** Models that will do, best first; none for a guest in clear. */
function encryptionsOf({ flavor, image }: Guest): readonly MemEncryption[] | 'refused' {
  try {
    return launchRequest(flavor, image).choices.flatMap(({ encryption }) => encryption ?? [])
  } catch (error) {
    if (error instanceof SevbusError && !error.retryable && error.code !== 'INTERNAL_ERROR') return 'refused'
    throw error
  }
}

function managerOf(placement: DatabasePlacement): SchedulerManager {
  return new SchedulerManager({
    placement,
    filters: defaultFilters(),
    weighers: defaultWeighers(),
    logger: pino({ level: 'silent' }),
  })
}

function reportOf(
  {
    machineType,
    machineTypes,
    uefi,
    ramRatio,
    memoryMb,
    ...pools
  }: Record<MemEncryptionModel, number | undefined> & {
    machineType: string
    machineTypes: string[]
    uefi: boolean
    ramRatio: number
    memoryMb: number
  },
  index: number,
): HostReport {
  return aHostReport(`cn-${index + 1}`, {
    memoryMb,
    ramRatio,
    slots: withoutUndefined(pools),
    report: { default_machine_type: machineType, machine_types: machineTypes, supports_uefi: uefi },
  })
}

/** One guest, from flavor and image to its claim; says what it got, after looking at every promise. */
async function boot(placement: DatabasePlacement, one: Guest, reports: readonly HostReport[]) {
  const encryptions = encryptionsOf(one)
  if (encryptions === 'refused') return 'not'
  const selection = await selected(managerOf(placement), one, encryptions)
  if (selection === undefined) return 'not'
  const { mem_encryption: chosen } = selection
  expect(encryptions.length > 0).toBe(asksForEncryption(one))
  // What will run is one of what was asked for, and nothing in clear of who asked for anything.
  expect(encryptions.length === 0 ? [null] : encryptions).toContainEqual(chosen)
  expectSlots(selection, chosen?.model)
  expectWhatItNeeds(
    one,
    chosen?.model,
    reports.find((report) => report.host === selection.host),
  )
  if (chosen && chosen.model !== encryptions[0]?.model) return 'another'
  return chosen ? 'encrypted' : 'clear'
}

/** Undefined: no host will do. */
async function selected(
  manager: SchedulerManager,
  { flavor, image }: Guest,
  encryptions: readonly MemEncryption[],
  carried: RequestSpec['mem_encryption'] = encryptions[0] ?? null,
): Promise<Selection | undefined> {
  const request_spec = RequestSpec.parse({
    instance_uuid: randomUUID(),
    attempt: 1,
    project_id: null,
    user_id: null,
    flavor: requestFlavor(flavor, encryptions),
    image,
    mem_encryption: carried,
  })
  try {
    const info = { context: newRequestContext(), signal: new AbortController().signal }
    return (await manager.selectDestinations({ request_spec }, info)).selection
  } catch (error) {
    if (error instanceof SevbusError && error.code === 'NO_VALID_HOST') return undefined
    throw error
  }
}

const SUFFIX: Readonly<Record<MemEncryptionModel, string>> = {
  'amd-sev': '_amd_sev',
  'amd-sev-es': '_amd_sev_es',
  'amd-sev-snp': '_amd_sev_snp',
}

function expectSlots({ host: name, allocations }: Selection, asked: MemEncryptionModel | undefined): void {
  const slot = allocations.filter(({ resource_class }) => resource_class === 'MEM_ENCRYPTION_CONTEXT')
  const memory = allocations.find(({ resource_class }) => resource_class === 'MEMORY_MB')
  if (asked === undefined) {
    expect({ slot, amount: memory?.amount }).toEqual({ slot: [], amount: 1024 })
    return
  }
  expect(slot).toEqual([{ provider: `${name}${SUFFIX[asked]}`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }])
  expect(memory).toEqual({ provider: name, resource_class: 'MEMORY_MB', amount: 1024 + 32, pinned: true })
}

function expectWhatItNeeds(
  { image }: Guest,
  asked: MemEncryptionModel | undefined,
  report: HostReport | undefined,
): void {
  if (image.properties.hw_firmware_type === 'uefi') expect(report?.supports_uefi).toBe(true)
  const { hw_machine_type } = image.properties
  // A host that tells no machine types has any.
  if (hw_machine_type && report?.machine_types.length) expect(report.machine_types).toContain(hw_machine_type)
  if (asked === undefined) return
  const machineType = hw_machine_type ?? report?.default_machine_type
  expect(machineType).toMatch(/^(pc-)?q35/)
  expect(report?.providers.some(({ traits }) => traits.includes(TRAITS[asked]))).toBe(true)
}

/** Hosts where guests have slots of SEV-ES and of SEV-SNP. */
function inBothModes(database: { query(sql: string): Promise<readonly unknown[]> }) {
  return database.query(
    `select p.host from allocations a join resource_providers p on p.name = a.provider
      where right(a.provider, 11) in ('_amd_sev_es', 'amd_sev_snp')
      group by p.host having count(distinct a.provider) > 1`,
  )
}

/** Inventories that have given more than they have, or pinned memory that is overcommitted: computed anew from the allocations. */
function overdrawn(database: { query(sql: string): Promise<readonly unknown[]> }) {
  return database.query(
    `select i.provider, i.resource_class from inventories i
       join lateral (select coalesce(sum(amount), 0) as used, coalesce(sum(amount) filter (where pinned), 0) as pinned
                       from allocations a
                      where a.provider = i.provider and a.resource_class = i.resource_class) a on true
      where a.used > (i.total - i.reserved) * i.allocation_ratio
         or a.pinned + (a.used - a.pinned) / i.allocation_ratio > i.total - i.reserved`,
  )
}
