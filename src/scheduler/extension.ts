/**
 * What a filter or weigher of your own is written with: one small module whose default export is a `HostFilter` or a
 * `HostWeigher`, named in the configuration under `scheduler.extra_filters` or `scheduler.extra_weighers`.
 *
 * @example
 * import type { HostFilter } from 'sevbus/scheduler'
 *
 * export default {
 *   name: 'FewInstances',
 *   fix: 'add a host',
 *   reject: (host) => (host.instances >= 50 ? `${host.instances} instances already` : undefined),
 * } satisfies HostFilter
 */
export type { Flavor } from '../objects/flavor.ts'
export type { ImageMeta } from '../objects/image-meta.ts'
export { MEM_ENCRYPTION_MODELS, type MemEncryption, type MemEncryptionModel } from '../objects/mem-encryption.ts'
export type { RequestSpec } from '../objects/request-spec.ts'
export type { ResourceRequest } from '../objects/resource-request.ts'
export type { HostFilter } from './filters/host-filter.ts'
export type { GroupState, HintedHosts } from './hinted-hosts.ts'
export {
  free,
  type HostAggregate,
  type HostState,
  type InventoryState,
  type ProviderState,
  poolsWithTrait,
} from './host-state.ts'
export type { SchedulingRequest } from './scheduling-request.ts'
export type { HostWeigher } from './weighers/host-weigher.ts'
