import type { DiskReport } from '../../objects/disk-report.ts'
import type { InstanceState } from '../../objects/instance.ts'
import { strayDisksOf } from '../../objects/stray-disks.ts'
import { type Finding, type Repair, whereabouts } from './finding.ts'
import type { Evidence, HostLook } from './observation.ts'

/** What a host has on disk of instances that nobody will ask it for again, one finding for each of them. */
export function diskFindings(evidence: Evidence, host: string, look: HostLook): readonly Finding[] {
  if (!look.answered || !evidence.judges(host)) return []
  const folders = new Map<string, DiskReport[]>()
  for (const each of look.disks ?? []) folders.set(each.uuid, [...(folders.get(each.uuid) ?? []), each])
  return [...folders].flatMap(([uuid, disks]) => diskFinding(evidence, host, uuid, disks) ?? [])
}

function diskFinding(
  evidence: Evidence,
  host: string,
  uuid: string,
  disks: readonly DiskReport[],
): Finding | undefined {
  const instance = evidence.instances.get(uuid)
  const guest = evidence.guestOn(host, uuid)
  if (instance === undefined) return guest === undefined ? unknown(host, uuid, disks) : undefined
  if (evidence.isChanging(uuid)) return undefined
  const part = strayDisksOf(instance, host)
  // With a guest of an instance that is elsewhere its disks are told as that guest's.
  if (part === undefined || (part === 'all' && guest !== undefined)) return undefined
  const strays = disks.filter(({ aside }) => part === 'all' || aside)
  if (strays.length === 0) return undefined
  const reason = part === 'all' ? onlyCopy(evidence, instance) : guest === undefined ? NO_GUEST : undefined
  return {
    ...common(host, uuid, strays),
    instance,
    problem:
      part === 'all'
        ? `${amount(strays)} of disks are left here; the instance ${whereabouts(instance)}`
        : `${amount(strays)} of disks are set aside for a move that is over; the instance ${whereabouts(instance)}`,
    repair: reason === undefined ? removal(instance, host, part) : undefined,
    advice: reason,
  }
}

const NO_GUEST =
  'its own guest is not there: these may be all that is left of it; look at both before you remove either'

/** Why they must stay: they may be all that is left of the instance. */
function onlyCopy(evidence: Evidence, { uuid, host, name }: InstanceState): string | undefined {
  if (host === null || evidence.guestOn(host, uuid) !== undefined) return undefined
  return evidence.answered(host)
    ? `no guest of it is on ${host}: these may be all that is left of ${name}`
    : `${host} did not answer: whether it has the instance is not known; audit again when that host is back`
}

function removal(instance: InstanceState, host: string, part: 'all' | 'aside'): Repair {
  const { host: current } = instance
  const elsewhere = current === null ? 'nothing of it is to run anywhere' : `its guest is on ${current}`
  return {
    action: 'remove_stray_disks',
    host,
    does: 'has the host remove them, after it has asked a conductor itself',
    safeBecause:
      part === 'all'
        ? `the instance ${whereabouts(instance)}: ${elsewhere}`
        : 'the instance has a guest and disks of its own on this host, and no move of it is open',
  }
}

/** No conductor has ever heard of it: another cloud's, or of before the database that there is now. */
function unknown(host: string, uuid: string, disks: readonly DiskReport[]): Finding {
  return {
    ...common(host, uuid, disks),
    instance: undefined,
    problem: `${amount(disks)} of disks are here, of an instance that no conductor knows`,
    repair: undefined,
    advice: `was the conductor's database restored, or does another cloud use this folder? Find out whose they are before you remove them by hand: ${folders(disks)}`,
  }
}

function common(host: string, uuid: string, disks: readonly DiskReport[]) {
  return {
    kind: 'stray_disks',
    host,
    uuid,
    version: disks.map(({ folder, bytes }) => `${folder} ${bytes}`).toSorted(),
    numbers: { bytes: disks.reduce((sum, { bytes }) => sum + bytes, 0) },
  } as const
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** `192.0 KiB in /var/lib/sevbus/instances/…` */
function amount(disks: readonly DiskReport[]): string {
  let size = disks.reduce((sum, { bytes }) => sum + bytes, 0)
  let unit = 0
  for (; size >= 1024 && unit < UNITS.length - 1; unit++) size /= 1024
  return `${unit === 0 ? size : size.toFixed(1)} ${UNITS[unit]} in ${folders(disks)}`
}

function folders(disks: readonly DiskReport[]): string {
  return disks
    .map(({ folder }) => folder)
    .toSorted()
    .join(', ')
}
