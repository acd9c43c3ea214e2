import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import * as contracts from '../../src/contracts.ts'
import { AuditFinding, AuditReport } from '../../src/objects/audit.ts'
import { Fault } from '../../src/objects/fault.ts'
import { NewFlavor } from '../../src/objects/flavor.ts'
import { EncryptionKeys, GuestReport } from '../../src/objects/guest-report.ts'
import { ProviderReport } from '../../src/objects/host-report.ts'
import { NewImageMeta } from '../../src/objects/image-meta.ts'
import { InstanceState, IpAddress } from '../../src/objects/instance.ts'
import { Inventory } from '../../src/objects/inventory.ts'
import { Allocation, Migration } from '../../src/objects/request-spec.ts'
import { NewSchedulerHints } from '../../src/objects/scheduler-hints.ts'
import { isCompatible } from '../../src/rpc/version.ts'
import { rpcMarkdown } from '../support/rpc-markdown.ts'

const { ConductorApi, SchedulerApi, ComputeApi } = contracts
const { Flavor, ImageMeta, Instance, BuildAttempt, MemEncryption, RequestSpec, Selection, SchedulingReport } = contracts
const { HostReport, HostSummary, Aggregate, ServerGroup, SchedulerHints } = contracts
const apis = [ConductorApi, SchedulerApi, ComputeApi]
const objects = {
  ...{ Flavor, ImageMeta, MemEncryption, IpAddress, Instance, Fault, BuildAttempt },
  ...{
    RequestSpec,
    SchedulerHints,
    Migration,
    Selection,
    Allocation,
    SchedulingReport,
    HostReport,
    ProviderReport,
    Inventory,
    HostSummary,
    ...{ InstanceState, GuestReport, EncryptionKeys, AuditReport, AuditFinding },
    Aggregate,
    ServerGroup,
  },
}

describe('the contracts', () => {
  it('are what docs/rpc.md says', () => {
    const strict = { Flavor: NewFlavor, ImageMeta: NewImageMeta, SchedulerHints: NewSchedulerHints }
    const page = rpcMarkdown(apis, objects, strict)
    if (process.env.UPDATE_DOCS) writeFileSync('docs/rpc.md', page)

    expect(readFileSync('docs/rpc.md', 'utf8')).toBe(page)
  })

  it('have each method once on the wire, brought by a version that the contract can serve', () => {
    for (const { version, methods } of apis) {
      const all = Object.values(methods)
      expect(new Set(all.map(({ wire }) => wire)).size).toBe(all.length)
      for (const { wire, since } of all) expect([wire, isCompatible(version, since)]).toEqual([wire, true])
    }
  })

  it('refuse arguments that they do not have', () => {
    for (const { methods } of apis) {
      for (const { input } of Object.values(methods)) expect(input.safeParse({ nonsense: 1 }).success).toBe(false)
    }
  })
})
