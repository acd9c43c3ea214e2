import { z } from 'zod'
import { HostName } from './host-report.ts'

/** What an audit can find, gravest first. */
export const FindingKind = z.enum([
  /** An instance runs on two hosts. */
  'double',
  /** A guest of ours runs where no instance is any more. */
  'ghost',
  /** A guest runs otherwise encrypted than its instance asked for, or in clear. */
  'wrong_encryption',
  /** An instance runs and its resources are not claimed, or not all of them. */
  'missing_claim',
  /** Resources are claimed that no guest uses. */
  'leak',
  /** An instance is to run on a host, and its guest is not there or does not run. */
  'missing_guest',
  /** The kernel counts other keys in use than guests that could hold them, or has fewer than the host offers. */
  'key_count',
  /** A guest that is not ours. */
  'foreign_guest',
  /** Disks of an instance that lives elsewhere or nowhere, or that a move has set aside which is over. */
  'stray_disks',
  /** More is claimed than the host has. */
  'overcommit',
  /** The use of an inventory is not the sum of its allocations. */
  'miscount',
])
export type FindingKind = z.infer<typeof FindingKind>

export const AuditFinding = z.object({
  kind: FindingKind,
  host: HostName,
  /** Of the guest or claim; null: the finding is about the host. */
  instance_uuid: z.string().nullable(),
  instance_name: z.string().nullable(),
  /** What is wrong. */
  problem: z.string(),
  /** The same in numbers, by resource class or by what is counted. */
  numbers: z.record(z.string(), z.number()),
  /** What repairs it, if that is safe; null: a person has to decide. */
  repair: z
    .object({
      /** Method of the contract that is used. */
      action: z.enum(['release_allocations', 'confirm_move', 'terminate_instance', 'remove_stray_disks']),
      does: z.string(),
      safe_because: z.string(),
    })
    .nullable(),
  /** For the person who has to decide. */
  advice: z.string().nullable(),
  outcome: z.enum(['found', 'repaired', 'not repaired']),
  /** Why it was not repaired, though it was tried. */
  failure: z.string().nullable(),
})
export type AuditFinding = z.infer<typeof AuditFinding>

/** Findings and hosts by name that one answer carries; all are counted. */
export const MAX_FINDINGS = 500
export const MAX_UNJUDGED_BY_NAME = 100

export const AuditReport = z.object({
  started_at: z.iso.datetime(),
  /** Time between the two looks, in seconds: what is not the same in both is no finding. */
  settle_seconds: z.number(),
  compared: z.object({ hosts: z.int(), instances: z.int(), claims: z.int(), guests: z.int() }),
  /** Instances that were being built, moved or deleted: not judged. */
  changing: z.int(),
  /** Parts of the cloud that did not answer: nothing of them was judged. At most 100 by name. */
  not_judged: z.array(z.object({ what: z.string(), reason: z.string() })),
  not_judged_total: z.int(),
  /** By kind, what is still so at the end; a kind without any is left out. */
  remaining: z.partialRecord(FindingKind, z.int()),
  remaining_total: z.int(),
  repaired_total: z.int(),
  /** Gravest first, at most 500. */
  findings: z.array(AuditFinding),
})
export type AuditReport = z.infer<typeof AuditReport>
