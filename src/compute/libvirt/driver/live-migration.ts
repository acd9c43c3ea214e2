import { setTimeout as sleep } from 'node:timers/promises'
import { GuestNotFound, LibvirtError, MigrationError, OperationNotSupportedForSEV } from '../../../errors.ts'
import type { LiveMigrateData } from '../../../objects/live-migrate-data.ts'
import { abortable } from '../../../rpc/abortable.ts'
import { parseDomain } from '../parse-domain.ts'
import { child, textOf } from '../parse-xml.ts'
import { FLAGS, type Libvirt } from '../rpc/libvirt.ts'
import { isLibvirtError, VIR_ERR } from '../rpc/remote-error.ts'
import { guestState } from './guest-state.ts'
import { movedXml } from './moved-xml.ts'
import { fileVolumes } from './unshared-volumes.ts'

/** How guests go to other hosts as they run. Names are Nova's, where that has them. */
export interface LiveMigrationOptions {
  /** The daemon at the destination, as the daemon here reaches it; `%s` is its host. Nothing else is ever connected to. */
  readonly uri: string
  /** Where the daemon here is reached; undefined: by this host's name. */
  readonly inboundAddr: string | undefined
  /** Guests' memory goes by sockets in this folder, which both daemons see; undefined: by TCP. */
  readonly socketFolder: string | undefined
  /** QEMU encrypts what it sends. */
  readonly withNativeTls: boolean
  /** A guest that writes faster than its memory is sent is slowed down. */
  readonly permitAutoConverge: boolean
  /** One that is to be completed by force goes on at its destination before all of its memory is there. */
  readonly permitPostCopy: boolean
  /** Also where libvirt does not know the file system of the disks as a shared one. */
  readonly unsafe: boolean
  /** Given up after so long for each GiB of the guest's memory. */
  readonly completionTimeoutMsPerGib: number
  /** Where displays of guests listen here; undefined: they have none. */
  readonly graphicsListen: string | undefined
}

export const DEFAULT_LIVE_MIGRATION: LiveMigrationOptions = {
  uri: 'qemu+tls://%s/system',
  inboundAddr: undefined,
  socketFolder: undefined,
  withNativeTls: false,
  permitAutoConverge: false,
  permitPostCopy: false,
  unsafe: false,
  completionTimeoutMsPerGib: 800_000,
  graphicsListen: undefined,
}

/** How often a migration is looked at that an earlier connection, or an earlier worker, has begun. */
const LOOK_MS = 250
/** Beyond what a migration may take: the daemon tells of its end. */
const GRACE_MS = 60_000
const KIB_PER_GIB = 1024 ** 2

/** virDomainJobType: one is under way. */
const JOB_RUNS: readonly number[] = [1, 2]

interface Ports {
  readonly libvirt: Libvirt
  readonly options: LiveMigrationOptions
  /** The folder of the guest here. */
  readonly folder: string
}

/** Brings a guest of ours to another host. @throws as VirtDriver.liveMigrate */
export async function migrateLive(
  uuid: string,
  host: string,
  data: LiveMigrateData,
  ports: Ports,
  signal: AbortSignal,
): Promise<void> {
  const { libvirt } = ports
  await jobOver(uuid, libvirt, signal)
  const { state, reason } = await libvirt.domainGetState(uuid, { signal })
  const is = guestState(state)
  // Stays defined where it was: a repeat sees why it is off.
  if (is === 'shutoff' && reason === 'migrated') return
  if (is !== 'running') throw new MigrationError(`guest ${uuid} is ${is} (${reason})`, { instance_uuid: uuid })
  await migrate(uuid, host, data, ports, signal)
}

/** Gives up what is under way, whoever began it. @throws LibvirtError */
export async function abortMigration(uuid: string, libvirt: Libvirt, signal: AbortSignal): Promise<void> {
  if (!(await isUnderWay(uuid, libvirt, signal))) return
  // By then over, or with its guest at the destination: its end is waited for all the same.
  await libvirt.domainAbortJob(uuid, { signal }).catch(falseWhenOff)
  await jobOver(uuid, libvirt, signal)
}

/** As in Nova: by post-copy where that was permitted, else by a guest that writes nothing any more. */
export async function completeMigration(
  uuid: string,
  { libvirt, options }: Omit<Ports, 'folder'>,
  signal: AbortSignal,
) {
  // A guest that stands still before its memory is sent would stand still when it is there.
  if (!(await isBeingSent(uuid, libvirt, signal))) return false
  if (options.permitPostCopy) {
    const begun = libvirt.domainMigrateStartPostCopy(uuid, { signal })
    if (await begun.then(() => true, falseWhenOff)) return true
    // Not yet, not any more, or begun by a worker that did not permit it.
    if (!(await isUnderWay(uuid, libvirt, signal))) return false
  }
  const { state } = await libvirt.domainGetState(uuid, { signal })
  if (guestState(state) === 'running') await libvirt.domainSuspend(uuid, { signal })
  return true
}

async function isBeingSent(uuid: string, libvirt: Libvirt, signal: AbortSignal): Promise<boolean> {
  const job = libvirt.domainGetJobInfo(uuid, { signal })
  return job.then(({ type, memProcessed }) => JOB_RUNS.includes(type) && memProcessed > 0n, falseWhenOff)
}

async function isUnderWay(uuid: string, libvirt: Libvirt, signal: AbortSignal): Promise<boolean> {
  const job = libvirt.domainGetJobInfo(uuid, { signal })
  // Of a guest that is off there is none, and libvirt does not say even that.
  return job.then(({ type }) => JOB_RUNS.includes(type), falseWhenOff)
}

/** Whoever began it: nobody begins another one meanwhile. */
async function jobOver(uuid: string, libvirt: Libvirt, signal: AbortSignal): Promise<void> {
  while (await isUnderWay(uuid, libvirt, signal)) {
    await sleep(LOOK_MS, undefined, { signal }).catch(() => signal.throwIfAborted())
  }
}

function falseWhenOff(error: unknown): false {
  if (isLibvirtError(error, VIR_ERR.operationInvalid)) return false
  throw error
}

async function migrate(
  uuid: string,
  host: string,
  data: LiveMigrateData,
  { libvirt, options, folder }: Ports,
  signal: AbortSignal,
): Promise<void> {
  const xml = await libvirt.domainGetXmlDesc(uuid, FLAGS.xmlMigratable, { signal })
  const timeoutMs = timeoutOf(xml, options)
  const destination = movedXml(xml, { folder, data })
  const params = [
    { field: 'destination_xml', value: destination },
    { field: 'persistent_xml', value: destination },
    ...[migrateUri(uuid, data, options), tlsName(host, data, options)].filter((each) => each !== undefined),
  ].map((param) => ({ ...param, type: TEXT }))
  const uri = options.uri.replaceAll('%s', () => inUri(data.target_connect_addr ?? host))
  const migrated = libvirt.domainMigratePerform3Params(
    uuid,
    { uri, params, flags: flagsOf(xml, options) },
    { timeoutMs: timeoutMs + GRACE_MS },
  )
  const tooLong = new AbortController()
  const timer = setTimeout(() => tooLong.abort(), timeoutMs)
  tooLong.signal.addEventListener('abort', () => void libvirt.domainAbortJob(uuid).catch(() => {}))
  try {
    await abortable(migrated, signal)
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error
    throw failure(uuid, host, error, tooLong.signal.aborted ? timeoutMs : undefined)
  } finally {
    clearTimeout(timer)
  }
}

/** VIR_TYPED_PARAM_STRING */
const TEXT = 7

function timeoutOf(xml: string, { completionTimeoutMsPerGib }: LiveMigrationOptions): number {
  const kib = Number(textOf(child(parseDomain(xml), 'memory')))
  return Math.ceil(Math.max(1, kib / KIB_PER_GIB) * completionTimeoutMsPerGib)
}

function migrateUri(uuid: string, { target_connect_addr: address }: LiveMigrateData, options: LiveMigrationOptions) {
  if (options.socketFolder !== undefined) {
    return { field: 'migrate_uri', value: `unix://${options.socketFolder}/${uuid}.sock` }
  }
  return address === null ? undefined : { field: 'migrate_uri', value: `tcp://${inUri(address)}` }
}

/** Whose certificate QEMU has to see there: of a socket nobody could tell it. */
function tlsName(host: string, { target_connect_addr }: LiveMigrateData, options: LiveMigrationOptions) {
  if (!options.withNativeTls || options.socketFolder === undefined) return undefined
  return { field: 'tls.destination', value: target_connect_addr ?? host }
}

function inUri(address: string): string {
  return address.includes(':') ? `[${address}]` : address
}

/** A file that is attached is judged by libvirt: nobody here knows whether the other host sees the same. */
function flagsOf(
  xml: string,
  { withNativeTls, permitAutoConverge, permitPostCopy, unsafe }: LiveMigrationOptions,
): number {
  const { live, peerToPeer, persistDest, tls, autoConverge, postCopy, unsafe: evenSo } = MIGRATE
  let flags = live | peerToPeer | persistDest
  if (withNativeTls) flags |= tls
  // As in Nova: what may be completed by post-copy is not slowed down.
  if (permitPostCopy) flags |= postCopy
  else if (permitAutoConverge) flags |= autoConverge
  if (unsafe && fileVolumes(xml).length === 0) flags |= evenSo
  return flags
}

/** virDomainMigrateFlags */
const MIGRATE = {
  live: 1,
  peerToPeer: 2,
  persistDest: 8,
  unsafe: 512,
  autoConverge: 8192,
  postCopy: 32_768,
  tls: 65_536,
} as const

/** By its text: of all that QEMU refuses libvirt says the same number. */
function failure(uuid: string, host: string, error: LibvirtError, timedOutMs: number | undefined) {
  const { libvirt_code } = error.details
  const facts = { instance_uuid: uuid, host, libvirt_code }
  if (/\bSEV\b|launch security/i.test(error.message)) {
    const fix = 'stop and start it instead, or boot one without memory encryption'
    const details = { ...facts, operation: 'live-migration', fix }
    return new OperationNotSupportedForSEV(`QEMU does not migrate guest ${uuid}: ${error.message}`, details)
  }
  if (isLibvirtError(error, VIR_ERR.noDomain)) {
    return new GuestNotFound(`this host has no guest ${uuid}`, { instance_uuid: uuid })
  }
  const why = timedOutMs === undefined ? error.message : `it took longer than ${timedOutMs / 1000} s, and was ended`
  return new MigrationError(`guest ${uuid} has not come to ${host}: ${why}`, { ...facts, fix: fixOf(error.message) })
}

function fixOf(message: string): string {
  if (/unsafe/i.test(message)) {
    return 'put disks and attached files on a file system that libvirt knows as shared (NFS, CephFS, GFS2, …), or see compute.live_migration_unsafe'
  }
  if (/postcopy is not supported/i.test(message)) {
    return 'let QEMU on both hosts take the page faults of guests (sysctl vm.unprivileged_userfaultfd=1), or unset compute.live_migration_permit_post_copy'
  }
  if (/TLS channel|TLS handshake|x509/i.test(message)) {
    return 'give QEMU on both hosts certificates of one authority, by the names that the hosts are reached by (/etc/pki/qemu)'
  }
  if (/unable to connect|cannot recv|unable to resolve|certificate|authentication/i.test(message)) {
    return 'let the libvirtd of this host reach that one: compute.live_migration_uri, and certificates for TLS'
  }
  return "look into libvirtd's log on both hosts"
}
