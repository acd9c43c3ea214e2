import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { connectLibvirt } from '../../src/compose/compute-host.ts'
import { Journal } from '../../src/compute/journal/journal.ts'
import { ToldLosses } from '../../src/compute/told-losses.ts'
import { loadConfig } from '../../src/config.ts'
import { HypervisorUnavailable } from '../../src/errors.ts'
import { DEFAULT_NOTIFICATION_NAMES } from '../../src/notifications/notification.ts'
import { decodeEnvelope } from '../../src/rpc/envelope.ts'
import { silent } from '../support/transports.ts'

async function given() {
  const folder = await mkdtemp(join(tmpdir(), 'sevbus-losses-'))
  const open = () => Journal.open({ folder: join(folder, 'journal'), host: 'h1' })
  const journal = await open()
  const outbox = { announce() {} }
  const ports = { host: 'h1', ip: '10.0.2.15', journal, outbox, logger: silent }
  return { folder, journal, open, losses: new ToldLosses(ports, DEFAULT_NOTIFICATION_NAMES) }
}

interface LossData {
  readonly ip: string
  readonly reason: { readonly 'nova_object.data': { readonly exception_message: string } }
}

/** What waits in a journal to be sent: each by its reason. */
async function told(journal: Journal) {
  // One of a key is given at a time.
  const reasons: unknown[] = []
  for (;;) {
    const taken = await journal.take(100)
    if (taken.length === 0) return reasons
    for (const { id, body } of taken) {
      const { event_type, payload } = decodeEnvelope(Buffer.from(body), 'application/json')
      const { ip, reason } = (payload as { 'nova_object.data': LossData })['nova_object.data']
      reasons.push([event_type, ip, reason['nova_object.data'].exception_message])
      await journal.sent([id])
    }
  }
}

describe('a loss of libvirt', () => {
  it('is told once until the connection stands again, by a message that outlasts the worker', async () => {
    const { journal, open, losses } = await given()

    await losses.lost(new HypervisorUnavailable('closed'))
    await losses.lost(new HypervisorUnavailable('refused'))
    losses.back()
    await losses.lost(new HypervisorUnavailable('closed again'))
    await journal.close()

    const later = await open()
    expect(await told(later)).toEqual([
      ['libvirt.connect.error', '10.0.2.15', 'closed'],
      ['libvirt.connect.error', '10.0.2.15', 'closed again'],
    ])
    await later.close()
  })

  it('is one where there is no daemon at all', async () => {
    const { folder, journal, losses } = await given()
    const uri = `qemu+unix:///system?socket=${join(folder, 'nobody')}`
    const config = loadConfig({ env: { SEVBUS_LIBVIRT_URI: uri }, host: 'h1' })

    const libvirt = connectLibvirt(config, silent, losses)

    await vi.waitFor(async () => expect((await journal.backlog()).messages).toBe(1))
    await libvirt.close()
    expect(await told(journal)).toEqual([['libvirt.connect.error', '10.0.2.15', expect.stringContaining('nobody')]])
    await journal.close()
  })

  it('does not end a worker whose journal takes no more', async () => {
    const { journal, losses } = await given()
    await journal.close()

    expect(await losses.lost(new HypervisorUnavailable('closed'))).toBeUndefined()
  })
})
