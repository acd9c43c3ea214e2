import { randomUUID } from 'node:crypto'
import { newRequestContext, type SevbusClient, SevbusError } from '../../../src/client.ts'
import { aRequestSpec } from '../../scheduler/builders.ts'

const context = newRequestContext()

/** What became of claimants who came all at once. */
export interface RushOutcome {
  /** By host. */
  readonly won: Readonly<Record<string, number>>
  /** Different refusals, and how often each was heard. */
  readonly refusals: Readonly<Record<string, number>>
}

/** So many ask for a slot of SEV at once, over the bus; what they won they give back. */
export async function rush({ scheduler }: SevbusClient, claimants: number): Promise<RushOutcome> {
  const won: Record<string, number> = {}
  const refusals: Record<string, number> = {}
  const ask = async () => {
    const instance_uuid = randomUUID()
    try {
      const request_spec = aRequestSpec({ model: 'amd-sev', spec: { instance_uuid } })
      const { selection } = await scheduler.selectDestinations(context, { request_spec })
      won[selection.host] = (won[selection.host] ?? 0) + 1
      return { instance_uuid, attempt: selection.attempt }
    } catch (error) {
      const reason = reasonOf(error)
      refusals[reason] = (refusals[reason] ?? 0) + 1
      return undefined
    }
  }
  const claims = await Promise.all(Array.from({ length: claimants }, ask))
  await Promise.all(claims.map((claim) => claim && scheduler.releaseAllocations(context, claim)))
  return { won, refusals }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof SevbusError)) return String(error)
  const { report } = error.details as { report?: { rejections: readonly { host: string; reason: string }[] } }
  const reasons = report?.rejections.map(({ host, reason }) => `${host}: ${reason}`).toSorted()
  return `${error.code}: ${reasons?.join('; ') ?? error.message}`
}
