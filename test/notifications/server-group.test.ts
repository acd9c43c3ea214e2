import { expect, it } from 'vitest'
import { NoValidHost } from '../../src/errors.ts'
import { InstanceEvents } from '../../src/notifications/instance-events.ts'
import { DEFAULT_NOTIFICATION_NAMES, decodeNotification } from '../../src/notifications/notification.ts'
import { ServerGroupPayload } from '../../src/notifications/request-payloads.ts'
import { serverGroupPayload } from '../../src/notifications/server-group-payload.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { anInstance } from '../compute/support/instances.ts'
import { aRequestSpec } from '../scheduler/builders.ts'

const group = 'aaaaaaaa-0000-4000-8000-00000000000d'

it('A conductor tells the uuid of the group that a request names, and no more of it, for only schedulers know', () => {
  const instance: Instance = { ...anInstance(), vm_state: 'error', host: null }
  const scheduler_hints = { group, same_host: [], different_host: [] }
  const spec = aRequestSpec({ spec: { instance_uuid: instance.uuid, scheduler_hints } })
  const events = new InstanceEvents(DEFAULT_NOTIFICATION_NAMES, 'nova-conductor:node1')

  const { body, numberMark } = events.buildFailed({ request_id: 'req-1' }, instance, spec, new NoValidHost('none'))

  const numbered = Buffer.from(body.replace(numberMark ?? '', '1'))
  const { payload } = decodeNotification({ body: numbered, contentType: 'application/json', headers: {} })
  const unknown = {
    name: null,
    user_id: null,
    project_id: null,
    policies: null,
    members: null,
    hosts: null,
    policy: null,
  }
  expect(payload['nova_object.data']).toMatchObject({
    request_spec: {
      'nova_object.data': {
        instance_group: ServerGroupPayload.wrap({ uuid: group, ...unknown, rules: {} }),
        scheduler_hints: { group: [group] },
      },
    },
  })
})

it('Rules of a group are texts, as those of Nova are', () => {
  const known = { uuid: group, name: 'db', user_id: 'ada', project_id: 'blue', members: [], hosts: null }

  const payload = serverGroupPayload({ ...known, policy: 'anti-affinity', rules: { max_server_per_host: 2 } })

  expect(payload['nova_object.data']).toEqual({
    ...known,
    ...{ policy: 'anti-affinity', policies: ['anti-affinity'], rules: { max_server_per_host: '2' } },
  })
})
