import { type HostFiles, type Reading, read, readValue } from './reading.ts'

/** What libvirt's daemon may lock, and let its guests lock. */
export interface DaemonLimits {
  readonly name: string
  readonly pid: string
  /** The hard limit of locked memory in bytes, Infinity without. */
  readonly memlockBytes: number
  /** It may raise the limits of others: CAP_SYS_RESOURCE, not inside a user namespace. */
  readonly mayRaiseLimits: boolean
}

const DAEMONS = new Set(['virtqemud', 'libvirtd'])
/** Source: linux/capability.h */
const CAP_SYS_RESOURCE = 24n
/** Of a process that is in no user namespace: all ids are what they are. */
const ALL_IDS = /^\s*0\s+0\s+4294967295\s*$/

/** All of them that run: which one listens on a socket cannot be told from outside. */
export async function examineDaemons(files: HostFiles): Promise<Reading<readonly DaemonLimits[]>> {
  const names = await files.names('proc')
  if (names.state !== 'read') return names
  const pids = names.value.filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(pids.map((pid) => examineProcess(files, pid)))
  const unreadable = found.find((limits) => limits?.state === 'unreadable')
  if (unreadable !== undefined) return unreadable
  const daemons = found.flatMap((limits) => (limits?.state === 'read' ? [limits.value] : []))
  return daemons.length > 0 ? read(daemons) : { state: 'absent', path: 'a process virtqemud or libvirtd' }
}

async function examineProcess(files: HostFiles, pid: string): Promise<Reading<DaemonLimits> | undefined> {
  const file = (name: string) => files.text(`proc/${pid}/${name}`)
  const name = readValue(await file('comm'))?.trim()
  if (name === undefined || !DAEMONS.has(name)) return undefined
  const [limits, status, ids] = await Promise.all([file('limits'), file('status'), file('uid_map')])
  if (limits.state !== 'read') return limits
  const [, hard] = /^Max locked memory\s+\S+\s+(\S+)/m.exec(limits.value) ?? []
  const [, capabilities = '0'] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readValue(status) ?? '') ?? []
  const isCapable = ((BigInt(`0x${capabilities}`) >> CAP_SYS_RESOURCE) & 1n) === 1n
  return read({
    name,
    pid,
    memlockBytes: hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard ?? 0),
    mayRaiseLimits: isCapable && ALL_IDS.test(readValue(ids) ?? ''),
  })
}
