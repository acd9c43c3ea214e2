/**
 * What billing does: charges by what an instance really runs with, from the versioned notifications.
 *
 *   SEVBUS_TRANSPORT_URL=amqp://… npx tsx examples/02-billing.ts
 */
import { consumeNotifications, InstanceActionPayload, InstanceCreatePayload } from 'sevbus/notifications'

const url = process.env.SEVBUS_TRANSPORT_URL ?? 'amqp://guest:guest@127.0.0.1:5672/'
const { SEVBUS_NOTIFICATIONS_EXCHANGE: exchange, SEVBUS_NOTIFICATIONS_TOPIC: topic } = process.env

const billing = await consumeNotifications({
  url,
  ...(exchange && { exchange }),
  ...(topic && { topic }),
  // A copy of its own: other consumers keep getting theirs.
  pool: `${topic ?? 'versioned_notifications'}.billing`,
  async onNotification({ event_type, timestamp, message_id, payload }) {
    if (event_type !== 'instance.create.end' && event_type !== 'instance.delete.end') return
    const type = event_type === 'instance.create.end' ? InstanceCreatePayload : InstanceActionPayload
    const { uuid, tenant_id, flavor } = type.schema.parse(payload)['nova_object.data']
    const { name, extra_specs } = flavor['nova_object.data']
    const encryption = payload.sevbus?.mem_encryption?.model ?? 'none'
    const verb = event_type === 'instance.create.end' ? 'charge' : 'stop'
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
