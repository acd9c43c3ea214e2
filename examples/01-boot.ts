/**
 * What an API tier does: boots a SEV-encrypted instance and waits for it.
 *
 *   npx sevbus dev                                                    (in another terminal)
 *   SEVBUS_TRANSPORT_URL=amqp://… npx tsx examples/01-boot.ts
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, newRequestContext, SevbusError } from 'sevbus/client'

const url = process.env.SEVBUS_TRANSPORT_URL ?? 'amqp://guest:guest@127.0.0.1:5672/'
// Names only when the workers are configured with others: transport.exchange and transport.topic_prefix.
const { SEVBUS_TRANSPORT_EXCHANGE: exchange, SEVBUS_TRANSPORT_TOPIC_PREFIX: topicPrefix } = process.env

const sevbus = await connect({ url, ...(exchange && { exchange }), ...(topicPrefix && { topicPrefix }) })
const context = newRequestContext({ user_id: 'alice', project_id: 'blue' })

try {
  const { instances } = await sevbus.conductor.buildInstances(context, {
    name: 'example',
    flavor: {
      flavorid: 'm1.sev',
      name: 'm1.sev',
      vcpus: 1,
      memory_mb: 2048,
      root_gb: 10,
      extra_specs: { 'hw:mem_encryption': 'true' },
    },
    image: { name: 'linux', properties: { hw_firmware_type: 'uefi', hw_machine_type: 'q35' } },
  })
  let instance = instances[0]
  while (instance?.vm_state === 'building') {
    await sleep(200)
    ;({ instance } = await sevbus.conductor.getInstance(context, { instance_uuid: instance.uuid }))
  }
  console.log(`${instance?.name} is ${instance?.vm_state} on ${instance?.host ?? 'no host'}`)
  console.log(`encryption: ${instance?.mem_encryption?.model ?? 'none'}`)
  if (instance?.fault) console.log(`because: ${instance.fault.code} ${instance.fault.message}`)
} catch (error) {
  // Every refusal has a stable code; docs/errors.md lists them.
  if (!(error instanceof SevbusError)) throw error
  console.error(`${error.code}: ${error.message}`)
  process.exitCode = 1
} finally {
  await sevbus.close()
}
