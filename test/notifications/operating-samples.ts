import { HypervisorUnavailable, InstanceNotFound } from '../../src/errors.ts'
import { computeException } from '../../src/notifications/compute-exception.ts'
import { libvirtConnectError } from '../../src/notifications/libvirt-error.ts'
import { DEFAULT_NOTIFICATION_NAMES } from '../../src/notifications/notification.ts'
import {
  type AggregateAction,
  OperatingEvents,
  type StoredAggregate,
} from '../../src/notifications/operating-events.ts'
import type { DurableMessage } from '../../src/rpc/durable-message.ts'
import type { RequestContext } from '../../src/rpc/request-context.ts'

const AT = new Date('2026-11-24T03:13:11.563Z')

/** What schedulers tell of hosts and operators, by the names of the samples. */
export function operatingSamples(context: RequestContext): Readonly<Record<string, DurableMessage>> {
  const events = new OperatingEvents(DEFAULT_NOTIFICATION_NAMES, 'node0', () => AT)
  const service = {
    uuid: 'fa69c544-906b-4a6a-a9c6-c1f7a8078c73',
    host: 'node1',
    disabled: false,
    disabled_reason: null,
    forced_down: false,
    availability_zone: 'nova',
    report_count: 1,
    last_seen_up: AT,
  }
  const { uuid, name, metadata } = {
    uuid: '788608ec-ebdc-45c5-bc7f-e5f24ab92c80',
    name: 'my-aggregate',
    metadata: { availability_zone: 'nova' },
  }
  const empty: StoredAggregate = { id: 1, uuid, name, metadata, hosts: [] }
  const withHost = { ...empty, hosts: ['node1'] }
  const withKey = { ...empty, metadata: { ...metadata, ssd: 'true' } }
  const both = (action: AggregateAction, before: Parameters<OperatingEvents['aggregate']>[2], after: StoredAggregate) =>
    events.aggregate(action, context, before, after).map((message, n) => {
      return [`aggregate-${action}-${n === 0 ? 'start' : 'end'}`, message] as const
    })
  const group = {
    uuid: 'b8ad3f5c-2b21-4a3f-8b0f-7d1d9e3a3f10',
    name: 'test-server-group',
    policy: 'anti-affinity',
    rules: { max_server_per_host: 3 },
    user_id: 'fake-user',
    project_id: 'fake-project',
  } as const
  const member = '178b0921-8f85-4257-88b6-2e743b5a975c'
  const noSuchGuest = new InstanceNotFound('node1 has no guest of instance 178b0921-8f85-4257-88b6-2e743b5a975c')
  const noLibvirt = new HypervisorUnavailable('no connection to libvirt at /run/libvirt/libvirt-sock: ECONNREFUSED')
  return {
    'compute-exception': computeException(DEFAULT_NOTIFICATION_NAMES, {
      ...{ host: 'node1', context, error: noSuchGuest, function: 'get_console_output', at: AT },
    }),
    'libvirt-connect-error': libvirtConnectError(DEFAULT_NOTIFICATION_NAMES, {
      ...{ host: 'node1', ip: '10.0.2.15', context: { request_id: context.request_id }, error: noLibvirt, at: AT },
    }),
    'service-create': events.service('service.create', context, service),
    'service-update': events.service('service.update', context, {
      ...service,
      disabled: true,
      disabled_reason: 'new memory',
      report_count: 2,
    }),
    ...Object.fromEntries([
      ...both('create', { uuid, name, metadata }, empty),
      ...both('add_host', empty, withHost),
      ...both('remove_host', withHost, empty),
      ...both('update_metadata', empty, withKey),
      ...both('delete', empty, empty),
    ]),
    'server_group-create': events.serverGroup('server_group.create', context, group),
    'server_group-add_member': events.serverGroup('server_group.add_member', context, group, [member]),
    'server_group-delete': events.serverGroup('server_group.delete', context, group, [member]),
  }
}
