import { z } from 'zod'

/** Nova's policies: together or apart; the soft ones are wishes, never reasons to refuse. */
const ServerGroupPolicy = z.enum(['affinity', 'anti-affinity', 'soft-affinity', 'soft-anti-affinity'])
export type ServerGroupPolicy = z.infer<typeof ServerGroupPolicy>
