import type { Duplex } from 'node:stream'
import { HypervisorUnavailable, toSevbusError } from '../../../errors.ts'
import { type CallLimits, Connection } from './connection.ts'
import type { Frame } from './frame.ts'
import type { KeepaliveOptions } from './keepalive.ts'

/** remote_auth_type */
const AUTH = { none: 0, polkit: 2 } as const
/** VIR_DRV_FEATURE_PROGRAM_KEEPALIVE. Source: src/libvirt_internal.h */
const KEEPALIVE_FEATURE = 10

/**
 * The daemon takes five calls of a connection (`max_client_requests`), and while it has that many it does not read: it
 * would hear no ping, and we would take it for dead. Observed with libvirt 9.0.
 */
const MAX_IN_FLIGHT = 4
const STUCK_MS = 30_000

export interface SessionOptions {
  /** What the daemon opens: `qemu:///system`. */
  readonly name: string
  readonly dial: (signal: AbortSignal) => Promise<Duplex>
  readonly onMessage: (message: Frame) => void
  /** What must be said before anybody may use the connection. */
  readonly prepare: (connection: Connection, limits: CallLimits) => Promise<void>
  /** Over reaching the daemon, and all that is said until the connection can be used. */
  readonly connectTimeoutMs: number
  readonly keepalive: KeepaliveOptions
}

/**
 * A connection that is ready for calls.
 *
 * @throws HypervisorUnavailable, LibvirtError, InvalidLibvirtMessage, the signal's reason
 */
export async function openSession(options: SessionOptions, signal: AbortSignal): Promise<Connection> {
  const timeout = AbortSignal.timeout(options.connectTimeoutMs)
  try {
    return await greet(options, AbortSignal.any([signal, timeout]))
  } catch (error) {
    signal.throwIfAborted()
    if (timeout.aborted) throw silent(options)
    throw error
  }
}

async function greet(options: SessionOptions, signal: AbortSignal): Promise<Connection> {
  const { name, dial, onMessage, connectTimeoutMs, keepalive } = options
  const connection = new Connection(await dial(signal), { maxInFlight: MAX_IN_FLIGHT, stuckMs: STUCK_MS, onMessage })
  const limits: CallLimits = { timeoutMs: connectTimeoutMs, signal }
  try {
    await authenticate(connection, limits)
    const { supported } = await connection.call('connectSupportsFeature', { feature: KEEPALIVE_FEATURE }, limits)
    if (supported) connection.keepAlive(keepalive)
    await connection.call('connectOpen', { name, flags: 0 }, limits)
    await options.prepare(connection, limits)
    return connection
  } catch (error) {
    connection.close(toSevbusError(error))
    throw error
  }
}

async function authenticate(connection: Connection, limits: CallLimits): Promise<void> {
  const { types } = await connection.call('authList', undefined, limits)
  if (types.length === 0 || types.includes(AUTH.none)) return
  const fix = 'take the unix socket, or TLS with certificates, with auth_unix_rw, auth_tcp or auth_tls = "none"'
  if (!types.includes(AUTH.polkit)) {
    throw new HypervisorUnavailable(`libvirt wants a login of type ${types.join()}, which is not spoken here; ${fix}`, {
      types,
      fix,
    })
  }
  await connection.call('authPolkit', undefined, limits)
}

function silent({ name, connectTimeoutMs }: SessionOptions): HypervisorUnavailable {
  const fix = 'look whether libvirtd hangs: systemctl status libvirtd'
  const facts = { timeout_ms: connectTimeoutMs, fix }
  return new HypervisorUnavailable(`libvirt did not answer for ${name} within ${connectTimeoutMs} ms`, facts)
}
