/**
 * What billing does: charges by what an instance really runs with, from the versioned notifications.
 *
 *   SEVBUS_TRANSPORT_URL=amqp://… npx tsx examples/02-billing.ts
 */
import {
  consumeNotifications,
  InstanceActionPayload,
  InstanceActionRebuildPayload,
  InstanceCreatePayload,
} from 'sevbus/notifications'

const url = process.env.SEVBUS_TRANSPORT_URL ?? 'amqp://guest:guest@127.0.0.1:5672/'
const { SEVBUS_NOTIFICATIONS_EXCHANGE: exchange, SEVBUS_NOTIFICATIONS_TOPIC: topic } = process.env

const TOLD = {
  'instance.create.end': { verb: 'charge', type: InstanceCreatePayload },
  // Evacuated: from now on it runs with this encryption.
  'instance.rebuild.end': { verb: 'change', type: InstanceActionRebuildPayload },
  'instance.delete.end': { verb: 'stop', type: InstanceActionPayload },
}
const isTold = (event: string): event is keyof typeof TOLD => Object.hasOwn(TOLD, event)

const billing = await consumeNotifications({
  url,
  ...(exchange && { exchange }),
  ...(topic && { topic }),
  // A copy of its own: other consumers keep getting theirs.
  pool: `${topic ?? 'versioned_notifications'}.billing`,
  async onNotification({ event_type, timestamp, message_id, payload }) {
    if (!isTold(event_type)) return
    const { verb, type } = TOLD[event_type]
    const { uuid, tenant_id, flavor } = type.schema.parse(payload)['nova_object.data']
    const { name, extra_specs } = flavor['nova_object.data']
    const encryption = payload.sevbus?.mem_encryption?.model ?? 'none'
    // Store this before returning: what is acknowledged does not come again. message_id tells a repeat.
    console.log(
      JSON.stringify({ verb, at: timestamp, message_id, uuid, tenant_id, flavor: name, extra_specs, encryption }),
    )
  },
})

console.error('reading notifications; Ctrl-C ends it')
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void billing.close()
  })
}
