import { GuestNotFound, InvalidDomainXml } from '../errors.ts'
import type { GuestReport } from '../objects/guest-report.ts'
import { isExpected } from './arrivals.ts'
import type { ComputePorts } from './compute-ports.ts'
import type { Journal } from './journal/journal.ts'
import { modelOf } from './libvirt/model-of.ts'
import { unusedDisks } from './stray-disks.ts'
import type { Guest, VirtDriver } from './virt-driver.ts'

/** What runs here, whether it came from us or not, with what the journal knows of it. */
export async function listGuests({ driver, journal }: Pick<ComputePorts, 'driver' | 'journal'>, signal: AbortSignal) {
  // Before the guests, as their disks: whatever begins while they are read is counted as begun or is not there yet.
  const busy = journal.builds().length + journal.terminations().length + journal.actions().length
  const folders = await driver.diskFolders(signal)
  const guests: GuestReport[] = []
  const defined = await driver.guests(signal)
  for (const guest of defined) {
    const model = await modelOfGuest(driver, guest, signal)
    if (model !== 'gone') guests.push({ ...guest, model: model ?? null, ...knownOf(journal, guest.uuid) })
  }
  const disks = await unusedDisks({ driver, journal }, folders, defined)
  return { guests, busy, keys: (await driver.encryptionKeys(signal)) ?? null, disks: [...disks] }
}

async function modelOfGuest(driver: VirtDriver, { uuid }: Guest, signal: AbortSignal) {
  try {
    return modelOf(await driver.domainXml(uuid, signal))
  } catch (error) {
    if (error instanceof GuestNotFound) return 'gone'
    // One that is not ours may be anything; what cannot be read must not hide the others.
    if (error instanceof InvalidDomainXml) return undefined
    throw error
  }
}

function knownOf(journal: Journal, uuid: string): Pick<GuestReport, 'attempt' | 'over' | 'work'> {
  const known = journal.known(uuid)
  const work = workOn(journal, uuid)
  const isOver = known?.terminated !== undefined || known?.outcome === 'failed' || known?.outcome === 'unwanted'
  return { attempt: known?.attempt ?? null, over: isOver && work === null, work }
}

function workOn(journal: Journal, uuid: string): GuestReport['work'] {
  if (journal.termination(uuid)) return 'termination'
  if (journal.build(uuid) || isExpected(journal, uuid)) return 'build'
  return journal.action(uuid) ? 'action' : null
}
