import * as contracts from '../../src/contracts.ts'
import { AttachedInterface, AttachedVolume, Volume } from '../../src/objects/attached-devices.ts'
import { AuditFinding, AuditReport } from '../../src/objects/audit.ts'
import { Fault } from '../../src/objects/fault.ts'
import { NewFlavor } from '../../src/objects/flavor.ts'
import { EncryptionKeys, GuestReport } from '../../src/objects/guest-report.ts'
import { ProviderReport } from '../../src/objects/host-report.ts'
import { NewImageMeta } from '../../src/objects/image-meta.ts'
import { InstanceState } from '../../src/objects/instance.ts'
import { ActionOutcome, ActionRecord, InstanceAction } from '../../src/objects/instance-action.ts'
import { Inventory } from '../../src/objects/inventory.ts'
import { IpAddress } from '../../src/objects/ip-address.ts'
import { Allocation, Migration } from '../../src/objects/request-spec.ts'
import { NewSchedulerHints } from '../../src/objects/scheduler-hints.ts'

const { Flavor, ImageMeta, Instance, BuildAttempt, MemEncryption, RequestSpec, Selection, SchedulingReport } = contracts
const { HostReport, HostSummary, Aggregate, ServerGroup, SchedulerHints } = contracts

export const CONTRACT_APIS = [contracts.ConductorApi, contracts.SchedulerApi, contracts.ComputeApi]

/** Described once in the documents, in this order. */
export const CONTRACT_OBJECTS = {
  ...{ Flavor, ImageMeta, MemEncryption, IpAddress, Volume, AttachedVolume, AttachedInterface },
  ...{ Instance, Fault, BuildAttempt },
  ...{ InstanceAction, ActionOutcome, ActionRecord },
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

/** Stricter forms of them, as somebody writes them. */
export const STRICT_OBJECTS = { Flavor: NewFlavor, ImageMeta: NewImageMeta, SchedulerHints: NewSchedulerHints }
