// Reads what `sevbus demo --json` prints, on standard input, and holds it to what the demo promises.
import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'

const { hosts, instances, refusals, notifications, totals } = JSON.parse(await text(process.stdin))

/** How many items have each answer: `{ active: 46, error: 3 }`. */
function tally(items, answer) {
  const counts = {}
  for (const item of items) counts[answer(item)] = (counts[answer(item)] ?? 0) + 1
  return counts
}

const modelOf = ({ mem_encryption }) => mem_encryption?.model ?? 'none'
const inState = (state) => instances.filter(({ vm_state }) => vm_state === state)
const ofType = (type) => notifications.filter(({ event_type }) => event_type === type)
const uuids = (items) => items.map(({ uuid, instance_uuid }) => uuid ?? instance_uuid).toSorted()

const active = inState('active')
const refused = inState('error')
const pools = hosts.flatMap(({ providers }) => providers.filter(({ model }) => model !== null))
const slots = (pool) => pool.inventories.MEM_ENCRYPTION_CONTEXT
const poolsOf = (host) => host.providers.filter(({ model }) => model !== null).map((pool) => pool.model)

// The hosts: two with 15 SEV slots, one with SEV and SEV-ES pools, one with SEV-SNP, one without.
assert.deepEqual(
  hosts.map(({ state }) => state),
  ['up', 'up', 'up', 'up', 'up'],
)
assert.deepEqual(hosts.map((host) => poolsOf(host).join('+')).toSorted(), [
  '',
  'amd-sev',
  'amd-sev',
  'amd-sev+amd-sev-es',
  'amd-sev-snp',
])
assert.equal(pools.filter((pool) => pool.model === 'amd-sev' && slots(pool).capacity === 15).length, 2)

// Every instance ended, and every model was booted; encrypted by flavor and by image.
assert.deepEqual(Object.keys(tally(instances, ({ vm_state }) => vm_state)).toSorted(), ['active', 'deleted', 'error'])
assert.ok(instances.every(({ task_state }) => task_state === null))
assert.ok(active.every(({ host }) => hosts.some((known) => known.host === host)))
const activeByModel = tally(active, modelOf)
for (const model of ['none', 'amd-sev', 'amd-sev-es', 'amd-sev-snp']) assert.ok(activeByModel[model] > 0, model)
for (const source of ['flavor', 'image']) {
  assert.ok(
    active.some(({ mem_encryption }) => mem_encryption?.requested_by === source),
    source,
  )
}

// As many slots claimed as encrypted instances live, on every host and of every model; SEV filled to the last.
for (const { host, providers } of hosts) {
  for (const pool of providers.filter(({ model }) => model !== null)) {
    const living = active.filter((instance) => instance.host === host && modelOf(instance) === pool.model)
    assert.equal(slots(pool).used, living.length, `${host} ${pool.model}`)
    assert.ok(slots(pool).used <= slots(pool).capacity, `${host} ${pool.model}`)
    if (pool.model === 'amd-sev') assert.equal(slots(pool).used, slots(pool).capacity, host)
  }
}

// The refusals: no slot left, host by host; and a flavor and an image that contradict each other.
const refusedByCode = tally(refusals, ({ code }) => code)
assert.equal(refusedByCode.FLAVOR_IMAGE_CONFLICT, 1)
assert.equal(refusedByCode.NO_VALID_HOST, refused.length)
assert.ok(refused.length > 0)
assert.ok(refused.every(({ fault }) => fault.code === 'NO_VALID_HOST'))
for (const { code, report } of refusals.filter(({ code }) => code === 'NO_VALID_HOST')) {
  const reasons = report.rejections.filter(({ reason }) => reason.length > 0).map(({ host }) => host)
  assert.deepEqual(reasons.toSorted(), hosts.map(({ host }) => host).toSorted(), code)
}

// What billing sees: one create.end for each instance that ever ran, with host, flavor and the encryption it got.
const created = ofType('instance.create.end')
const booted = [...active, ...inState('deleted')]
assert.deepEqual(uuids(created), uuids(booted))
assert.deepEqual(uuids(ofType('instance.create.start')), uuids(booted))
assert.deepEqual(uuids(ofType('compute_task.build_instances.error')), uuids(refused))
assert.deepEqual(uuids(ofType('instance.delete.end')), uuids(inState('deleted')))
for (const notification of created) {
  const instance = booted.find(({ uuid }) => uuid === notification.instance_uuid)
  assert.equal(notification.flavor, instance.flavor.name)
  assert.deepEqual(notification.mem_encryption, instance.mem_encryption)
  if (instance.vm_state === 'active') assert.equal(notification.host, instance.host)
}
assert.equal(new Set(notifications.map(({ message_id }) => message_id)).size, notifications.length)

// The totals say the same.
const encrypted = active.filter((instance) => modelOf(instance) !== 'none')
assert.equal(totals.active, active.length)
assert.equal(totals.encrypted_active, encrypted.length)
assert.equal(totals.slots_used, encrypted.length)
assert.equal(totals.error, refused.length)
assert.equal(totals.deleted, inState('deleted').length)
assert.equal(totals.refused_by_conductor, refusals.length - refused.length)
assert.equal(totals.notifications, notifications.length)
assert.ok(totals.elapsed_ms < 60_000)

console.log(
  `demo: ${active.length} active, ${encrypted.length} of them encrypted, ${refusals.length} refused, all as promised`,
)
