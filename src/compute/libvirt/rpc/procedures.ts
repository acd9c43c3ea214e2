import {
  bytes,
  type Codec,
  characters,
  flag,
  int,
  list,
  nothing,
  optional,
  struct,
  text,
  uhyper,
  uint,
  uuid,
} from './codec.ts'
import { typedParams } from './typed-param.ts'

/** REMOTE_PROGRAM and its version; the keepalive program speaks beside it. */
export const REMOTE = { program: 0x20008086, version: 1 } as const

/** A call that libvirt answers. */
export interface Procedure<A, R> {
  readonly number: number
  readonly args: Codec<A>
  readonly result: Codec<R>
}

/** A domain as calls name it. The daemon looks at the uuid alone (virDomainObjListFindByUUID). */
export interface DomainReference {
  readonly name: string
  readonly uuid: string
  /** -1: it does not run. */
  readonly id: number
}

const domain: Codec<DomainReference> = struct<DomainReference>({ name: text, uuid, id: int })
const network = struct({ name: text, uuid })
const theDomain = struct({ dom: domain })
const domainAndFlags = struct({ dom: domain, flags: uint })
const xmlAndFlags = struct({ xml: text, flags: uint })
const deviceAndFlags = struct({ dom: domain, xml: text, flags: uint })

/**
 * REMOTE_DOMAIN_LIST_MAX, REMOTE_CONNECT_GET_ALL_DOMAIN_STATS_MAX, REMOTE_NODE_SEV_INFO_MAX, REMOTE_AUTH_TYPE_LIST_MAX,
 * REMOTE_DOMAIN_MIGRATE_PARAM_LIST_MAX, REMOTE_MIGRATE_COOKIE_MAX
 */
const MOST = {
  domains: 16_384,
  stats: 262_144,
  sevParams: 64,
  authTypes: 20,
  migrateParams: 64,
  cookieBytes: 4_194_304,
} as const

/**
 * All that we say to libvirt, by libvirt's names and numbers (`REMOTE_PROC_…` in src/remote/remote_protocol.x; numbers are
 * only ever added there). All of them were observed with libvirt 9.0.0 (QEMU 7.2) and with libvirt 11.3.0 (QEMU 10.0), and
 * `test/libvirt/procedures.test.ts` runs each against the libvirt that is installed.
 */
export const PROCEDURES = {
  connectOpen: call(1, struct({ name: optional(text), flags: uint }), nothing),
  connectClose: call(2, nothing, nothing),
  connectGetVersion: call(4, nothing, struct({ version: uhyper })),
  nodeGetInfo: call(
    6,
    nothing,
    struct({
      model: characters(32),
      memoryKib: uhyper,
      cpus: int,
      mhz: int,
      nodes: int,
      sockets: int,
      cores: int,
      threads: int,
    }),
  ),
  connectGetCapabilities: call(7, nothing, struct({ capabilities: text })),
  domainGetXmlDesc: call(14, domainAndFlags, struct({ xml: text })),
  domainLookupByUuid: call(24, struct({ uuid }), theDomain),
  domainReboot: call(27, domainAndFlags, nothing),
  domainResume: call(28, theDomain, nothing),
  domainShutdown: call(33, theDomain, nothing),
  domainSuspend: call(34, theDomain, nothing),
  networkLookupByName: call(46, struct({ name: text }), struct({ net: network })),
  connectGetHostname: call(59, nothing, struct({ hostname: text })),
  connectSupportsFeature: call(60, struct({ feature: int }), struct({ supported: flag })),
  authList: call(66, nothing, struct({ types: list(int, MOST.authTypes) })),
  authPolkit: call(70, nothing, struct({ complete: flag })),
  networkIsActive: call(152, struct({ net: network }), struct({ active: flag })),
  connectGetLibVersion: call(157, nothing, struct({ version: uhyper })),
  domainAttachDeviceFlags: call(160, deviceAndFlags, nothing),
  domainDetachDeviceFlags: call(161, deviceAndFlags, nothing),
  domainGetJobInfo: call(
    163,
    theDomain,
    struct({
      type: int,
      timeElapsed: uhyper,
      timeRemaining: uhyper,
      dataTotal: uhyper,
      dataProcessed: uhyper,
      dataRemaining: uhyper,
      memTotal: uhyper,
      memProcessed: uhyper,
      memRemaining: uhyper,
      fileTotal: uhyper,
      fileProcessed: uhyper,
      fileRemaining: uhyper,
    }),
  ),
  domainAbortJob: call(164, theDomain, nothing),
  domainManagedSave: call(182, domainAndFlags, nothing),
  domainHasManagedSaveImage: call(183, domainAndFlags, struct({ result: int })),
  domainCreateWithFlags: call(196, domainAndFlags, theDomain),
  domainGetState: call(212, domainAndFlags, struct({ state: int, reason: int })),
  domainUndefineFlags: call(231, domainAndFlags, nothing),
  domainDestroyFlags: call(234, domainAndFlags, nothing),
  domainReset: call(245, domainAndFlags, nothing),
  domainMigratePerform3Params: call(
    305,
    struct({
      dom: domain,
      /** Of the daemon at the destination, as the one at the source reaches it. */
      dconnuri: optional(text),
      params: typedParams(MOST.migrateParams),
      cookieIn: bytes(MOST.cookieBytes),
      flags: uint,
    }),
    struct({ cookieOut: bytes(MOST.cookieBytes) }),
  ),
  connectDomainEventCallbackRegisterAny: call(
    316,
    struct({ eventId: int, dom: optional(domain) }),
    struct({ callbackId: int }),
  ),
  connectDomainEventCallbackDeregisterAny: call(317, struct({ callbackId: int }), nothing),
  connectGetDomainCapabilities: call(
    342,
    struct({
      emulator: optional(text),
      arch: optional(text),
      machine: optional(text),
      virttype: optional(text),
      flags: uint,
    }),
    struct({ capabilities: text }),
  ),
  connectGetAllDomainStats: call(
    344,
    struct({ domains: list(domain, MOST.domains), stats: uint, flags: uint }),
    struct({ records: list(struct({ dom: domain, params: typedParams(MOST.stats) }), MOST.domains) }),
  ),
  domainDefineXmlFlags: call(350, xmlAndFlags, theDomain),
  domainMigrateStartPostCopy: call(364, domainAndFlags, nothing),
  nodeGetSevInfo: call(
    395,
    struct({ nparams: int, flags: uint }),
    struct({ params: typedParams(MOST.sevParams), nparams: int }),
  ),
  domainGetLaunchSecurityInfo: call(396, domainAndFlags, struct({ params: typedParams(MOST.sevParams) })),
}

export type ProcedureName = keyof typeof PROCEDURES
type Value<C> = C extends Codec<infer T> ? T : never
export type Args<N extends ProcedureName> = Value<(typeof PROCEDURES)[N]['args']>
export type Result<N extends ProcedureName> = Value<(typeof PROCEDURES)[N]['result']>

/** What libvirt says without being asked, after `connectDomainEventCallbackRegisterAny`. */
export const EVENTS = {
  lifecycle: { number: 318, message: struct({ callbackId: int, dom: domain, event: int, detail: int }) },
  reboot: { number: 319, message: struct({ callbackId: int, dom: domain }) },
}

function call<A, R>(number: number, args: Codec<A>, result: Codec<R>): Procedure<A, R> {
  return { number, args, result }
}
