import { z } from 'zod'
import { text } from './text.ts'

/** Nova's policies: together or apart; the soft ones are wishes, never reasons to refuse. */
export const ServerGroupPolicy = z.enum(['affinity', 'anti-affinity', 'soft-affinity', 'soft-anti-affinity'])
export type ServerGroupPolicy = z.infer<typeof ServerGroupPolicy>

export const ServerGroupRules = z.strictObject({
  /** Of anti-affinity only: how many members one host may have; 1 when absent. */
  max_server_per_host: z.int().min(1).max(1_000_000).optional(),
})
export type ServerGroupRules = z.infer<typeof ServerGroupRules>

export const ServerGroupName = text(255).min(1)

/** Instances that are to run together, or apart. One becomes a member by the hint `group` of its request. */
export const ServerGroup = z.object({
  uuid: z.guid(),
  name: ServerGroupName,
  policy: ServerGroupPolicy,
  rules: ServerGroupRules,
  /** Those of them that hold resources on a host now. */
  members: z.array(z.object({ instance_uuid: z.guid(), host: z.string() })),
})
export type ServerGroup = z.infer<typeof ServerGroup>
