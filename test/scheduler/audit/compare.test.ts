import { describe, expect, it } from 'vitest'
import { type Finding, identity, type Repair } from '../../../src/scheduler/audit/finding.ts'
import type { Observation } from '../../../src/scheduler/audit/observation.ts'
import {
  aClaim,
  aGuest,
  aLook,
  anInstanceState,
  anObservation,
  aPool,
  CHANGED_AT,
  compare,
  keys,
  SILENT,
  uuidOf,
} from './observations.ts'

function found(seen: Observation): readonly Finding[] {
  return compare(seen).findings
}

function howOf(repair: Repair): string {
  if (repair.action === 'confirm_move') return repair.migration.type
  return repair.action === 'remove_stray_disks' ? `on ${repair.host}` : String(repair.attempt)
}

/** Kind, host and the number of the instance, with how it is repaired. */
function short(seen: Observation): readonly string[] {
  return found(seen).map(({ kind, host, uuid, repair }) => {
    const which = uuid === undefined ? '' : ` ${Number(uuid.slice(-12))}`
    return `${kind} ${host}${which}: ${repair ? `${repair.action} ${howOf(repair)}` : 'for a person'}`
  })
}

const DELETED = { vm_state: 'deleted', host: null } as const
const SHELVED = { vm_state: 'shelved_offloaded', host: null } as const
const FAILED = { vm_state: 'error', host: null } as const

describe('a cloud in which all agree', () => {
  it('has no findings', () => {
    const seen = anObservation({
      hosts: { h1: aLook([aGuest(1), aGuest(2, { model: null })], { keys: keys([1, 15]) }), h2: aLook([]) },
      claims: [aClaim(1), aClaim(2, { resources: { VCPU: 1, MEMORY_MB: 2048 } })],
      instances: [
        ...[anInstanceState(1), anInstanceState(2, { model: null }), anInstanceState(3, FAILED)],
        anInstanceState(4, SHELVED),
      ],
      inventories: [aPool('h1', 'amd-sev', { used: 1, allocated: 1 })],
    })

    expect(compare(seen)).toEqual({ findings: [], hosts: [], changing: 0 })
  })

  it.each([
    ['is being scheduled, and has claimed already', { vm_state: 'building', task_state: 'scheduling', host: null }, []],
    ['is being built, and has no guest yet', { vm_state: 'building', task_state: 'spawning' }, []],
    ['is being built elsewhere while its void try is still removed', { vm_state: 'building', host: 'h2' }, [aGuest(1)]],
    ['is being deleted, and its guest is gone', { task_state: 'deleting' }, []],
    ['is deleted, and the release of its claim has not left its conductor', { ...DELETED, messages_waiting: true }, []],
    ['is deleted, and its host is at removing it', DELETED, [aGuest(1, { work: 'termination' })]],
  ] as const)('says nothing of an instance that %s, but counts it', (_what, state, guests) => {
    const instances = [anInstanceState(1, state)]
    const seen = anObservation({ hosts: { h1: aLook(guests), h2: aLook([]) }, claims: [aClaim(1)], instances })

    expect(compare(seen)).toEqual({ findings: [], hosts: [], changing: 1 })
  })

  it('says nothing of a guest whose end has not left its conductor, and of that alone', () => {
    const instances = [anInstanceState(1, { host: 'h2', attempt: 2, hosts_waiting: ['h1'] })]
    const hosts = { h1: aLook([aGuest(1)]), h2: aLook([aGuest(1, { attempt: 2 })]), h3: aLook([aGuest(1)]) }
    const claims = [aClaim(1, { host: 'h2', attempt: 2 })]

    expect(short(anObservation({ hosts, claims, instances }))).toEqual(['double h3 1: terminate_instance 1'])
  })

  it('says nothing of a host that does not answer, whatever others say of it', () => {
    const claims = [aClaim(1), aClaim(2), aClaim(3)]
    const instances = [anInstanceState(1), anInstanceState(2, DELETED)]

    expect(found(anObservation({ hosts: { h1: SILENT }, claims, instances }))).toEqual([])
  })

  it('says nothing of guests and claims while no conductor answers', () => {
    const hosts = { h1: aLook([aGuest(1)], { keys: keys([1, 15]) }) }

    expect(found(anObservation({ hosts, claims: [aClaim(2)], instances: null }))).toEqual([])
  })

  it('says nothing of hosts that nobody asked for, though they are looked at as evidence', () => {
    const hosts = { h1: aLook([]), h2: aLook([aGuest(9, { attempt: null })]) }
    const seen = anObservation({ hosts, claims: [aClaim(1, { host: 'h2' })], instances: [], scope: ['h1'] })

    expect(found(seen)).toEqual([])
  })
})

describe('a leak', () => {
  it('is told with what is held, and what giving it back is safe by', () => {
    const seen = anObservation({
      hosts: { h1: aLook([]) },
      claims: [aClaim(1, { attempt: 2 })],
      instances: [anInstanceState(1, { ...DELETED, attempt: 2 })],
    })

    expect(found(seen)).toEqual([
      {
        kind: 'leak',
        host: 'h1',
        uuid: uuidOf(1),
        instance: anInstanceState(1, { ...DELETED, attempt: 2 }),
        version: [2, CHANGED_AT],
        problem:
          '2080 MEMORY_MB, 1 MEM_ENCRYPTION_CONTEXT, 1 VCPU claimed for try 2, but the instance is deleted, and no guest of it is here',
        numbers: { VCPU: 1, MEMORY_MB: 2080, MEM_ENCRYPTION_CONTEXT: 1 },
        repair: {
          action: 'release_allocations',
          consumer: uuidOf(1),
          attempt: 2,
          does: 'gives the claim back, and voids tries up to 2',
          safeBecause: 'h1 answers and has no guest of it; a claim of a later try would be left as it is',
        },
        advice: undefined,
      },
    ])
  })

  it.each([
    ['whose instance failed', [anInstanceState(1, FAILED)], ['leak h1 1: release_allocations 1']],
    ['whose instance nobody knows', [], ['leak h1 1: release_allocations 1']],
    [
      'whose instance is deleted, though it still names the host',
      [anInstanceState(1, { vm_state: 'deleted' })],
      ['leak h1 1: release_allocations 1'],
    ],
    [
      'whose instance is deleted, though it names another host',
      [anInstanceState(1, { vm_state: 'deleted', host: 'h2' })],
      ['ghost h2 1: terminate_instance 1', 'leak h1 1: release_allocations 1'],
    ],
    [
      'whose instance runs elsewhere under a later try that claimed nothing',
      [anInstanceState(1, { host: 'h2', attempt: 2 })],
      ['missing_claim h2 1: for a person', 'leak h1 1: release_allocations 1'],
    ],
    [
      'of the very try that runs elsewhere, which giving it back would void',
      [anInstanceState(1, { host: 'h2' })],
      ['missing_claim h2 1: for a person', 'leak h1 1: for a person'],
    ],
  ])('is a claim %s', (_what, instances, expected) => {
    const hosts = { h1: aLook([]), h2: aLook(instances.some(({ host }) => host === 'h2') ? [aGuest(1)] : []) }

    expect(short(anObservation({ hosts, claims: [aClaim(1)], instances }))).toEqual(expected)
  })

  it('of nobody is left alone while a guest there has no claim of its own: it may hold what that guest runs on', () => {
    const claims = [aClaim(1, { host: 'h2' }), aClaim(99)]
    const instances = [anInstanceState(1, { host: 'h2', attempt: 2 })]
    const moving = { h1: aLook([aGuest(1)]), h2: aLook([aGuest(1, { attempt: 2 })]) }
    const foreign = { h1: aLook([aGuest(5, { attempt: null })]), h2: aLook([aGuest(1, { attempt: 2 })]) }

    const leak = found(anObservation({ hosts: moving, claims, instances })).find(({ kind }) => kind === 'leak')
    expect(leak).toMatchObject({ host: 'h1', uuid: uuidOf(99), repair: undefined })
    expect(leak?.advice).toContain(`a guest here that has no claim of its own (${uuidOf(1)})`)
    expect(short(anObservation({ hosts: foreign, claims, instances }))).toContain('leak h1 99: release_allocations 1')
  })

  it('is left alone where giving it back would take the right claim along', () => {
    const claims = [aClaim(1), aClaim(1, { host: 'h2' })]
    const hosts = { h1: aLook([]), h2: aLook([aGuest(1)]) }

    const [leak, ...others] = found(anObservation({ hosts, claims, instances: [anInstanceState(1, { host: 'h2' })] }))

    expect(others).toEqual([])
    expect(leak).toMatchObject({ kind: 'leak', host: 'h1', repair: undefined })
    expect(leak?.advice).toContain('would take the claim on h2 along')
  })

  it('of a move is for a person: only who moves knows whether the source may go', () => {
    const claims = [aClaim(1, { host: 'h2' }), aClaim(1, { consumer: uuidOf(99), migrationType: 'evacuation' })]
    const hosts = { h1: aLook([]), h2: aLook([aGuest(1)]) }
    const instances = [anInstanceState(1, { host: 'h2', attempt: 2 })]

    expect(short(anObservation({ hosts, claims, instances }))).toEqual(['leak h1 1: for a person'])
    expect(found(anObservation({ hosts, claims, instances }))[0]?.advice).toContain('a move has left it behind')
  })

  it.each([
    ['is deleted', [anInstanceState(1, DELETED)]],
    ['is one that nobody knows', []],
  ])('of a move whose instance %s is safe to give back: nothing can go back to there', (_what, instances) => {
    const claims = [aClaim(1, { consumer: uuidOf(99), migrationType: 'resize' })]

    expect(found(anObservation({ hosts: { h1: aLook([]) }, claims, instances }))).toMatchObject([
      {
        kind: 'leak',
        host: 'h1',
        uuid: uuidOf(1),
        repair: {
          action: 'confirm_move',
          consumer: uuidOf(99),
          migration: { uuid: uuidOf(99), type: 'resize' },
          does: 'gives back what the resize holds',
          safeBecause: 'h1 answers and has no guest of it, and no move of an instance that is gone can go back',
        },
      },
    ])
  })

  it('is what a shelved instance has still claimed, and safe to give back; its guest is safe to remove', () => {
    const hosts = { h1: aLook([]), h2: aLook([aGuest(2, { model: null })]) }
    const claims = [aClaim(1)]

    const seen = anObservation({ hosts, claims, instances: [anInstanceState(1, SHELVED), anInstanceState(2, SHELVED)] })

    expect(short(seen)).toEqual(['ghost h2 2: terminate_instance 1', 'leak h1 1: release_allocations 1'])
  })

  it('is not what a missing guest still holds', () => {
    const seen = anObservation({ hosts: { h1: aLook([]) }, claims: [aClaim(1)], instances: [anInstanceState(1)] })

    expect(short(seen)).toEqual(['missing_guest h1 1: for a person'])
  })
})

describe('a ghost', () => {
  it.each([
    ['of a deleted instance', DELETED, {}, 1],
    ['of a failed instance', FAILED, {}, 1],
    ['of a deleted instance that still names the host', { ...DELETED, host: 'h1' }, {}, 1],
    ['of an older try', { ...DELETED, attempt: 3 }, { attempt: 2 }, 2],
    ['that its host has no record of', { ...DELETED, attempt: 3 }, { attempt: null }, 3],
    ['that came back after its host had ended that try: the next one removes it', DELETED, { over: true }, 2],
  ])('%s is removed by the try that its host takes', (_what, state, guest, attempt) => {
    const instances = [anInstanceState(1, state)]
    const seen = anObservation({ hosts: { h1: aLook([aGuest(1, guest)]) }, claims: [aClaim(1)], instances })

    expect(short(seen)).toEqual([`ghost h1 1: terminate_instance ${attempt}`])
  })

  it('says why it is safe to remove, and leaves its claim until it is gone', () => {
    const instances = [anInstanceState(1, DELETED)]
    const [ghost] = found(anObservation({ hosts: { h1: aLook([aGuest(1)]) }, claims: [aClaim(1)], instances }))

    expect(ghost?.problem).toBe('a guest of it is still here (running, SEV, of try 1), but the instance is deleted')
    expect(ghost?.repair?.safeBecause).toBe('the instance is deleted: nothing of it is to run anywhere')
  })

  it('may be all that is left of an instance that should run elsewhere: then it stays', () => {
    const instances = [anInstanceState(1, { host: 'h2', attempt: 2 })]
    const claims = [aClaim(1, { host: 'h2', attempt: 2 })]
    const gone = found(anObservation({ hosts: { h1: aLook([aGuest(1)]), h2: aLook([]) }, claims, instances }))
    const stopped = aLook([aGuest(1, { state: 'shutoff', attempt: 2 })])
    const shut = found(anObservation({ hosts: { h1: aLook([aGuest(1)]), h2: stopped }, claims, instances }))
    const silent = found(anObservation({ hosts: { h1: aLook([aGuest(1)]), h2: SILENT }, claims, instances }))

    expect(gone.map(({ kind, repair }) => [kind, repair])).toEqual([
      ['ghost', undefined],
      ['missing_guest', undefined],
    ])
    expect(gone[0]?.advice).toContain('this may be all that is left of web-1')
    expect(gone[1]?.problem).toContain('a guest of it is on h1')
    expect(shut.map(({ kind, repair }) => [kind, repair])).toEqual([
      ['ghost', undefined],
      ['missing_guest', undefined],
    ])
    expect(silent.map(({ kind, repair }) => [kind, repair])).toEqual([['ghost', undefined]])
    expect(silent[0]?.advice).toContain('h2 did not answer')
  })

  it('of an instance that no conductor knows is for a person', () => {
    const built = anObservation({ hosts: { h1: aLook([aGuest(1)]) }, instances: [] })
    const claimed = anObservation({ hosts: { h1: aLook([aGuest(1, { attempt: null })]) }, claims: [aClaim(1)] })

    expect(short(built)).toEqual(['ghost h1 1: for a person'])
    expect(found(built)[0]?.problem).toContain('built here as try 1, but no conductor knows the instance')
    expect(short(claimed)).toEqual(['ghost h1 1: for a person'])
    expect(found(claimed)[0]?.problem).toContain('that was claimed here, but no conductor knows the instance')
  })

  it('is none that its host works on, though no conductor knows it', () => {
    const guests = [aGuest(1, { work: 'build' }), aGuest(2, { attempt: null, work: 'termination' })]

    expect(found(anObservation({ hosts: { h1: aLook(guests) } }))).toEqual([])
  })
})

describe('a double', () => {
  const claims = [aClaim(1, { host: 'h2', attempt: 2 })]
  const instances = [anInstanceState(1, { host: 'h2', attempt: 2 })]
  const right = aLook([aGuest(1, { attempt: 2 })])

  it('is removed from where its conductor does not have it', () => {
    const hosts = { h1: aLook([aGuest(1)]), h2: right }

    expect(short(anObservation({ hosts, claims, instances }))).toEqual(['double h1 1: terminate_instance 1'])
    expect(found(anObservation({ hosts, claims, instances }))[0]?.problem).toBe(
      'a second guest of it is here (running, SEV, of try 1); the instance is active on h2, try 2, and runs there',
    )
  })

  it('that its host has no record of is removed by the try that runs, which that host cannot have', () => {
    const hosts = { h1: aLook([aGuest(1, { attempt: null })]), h2: right }
    const [double] = found(anObservation({ hosts, claims, instances }))

    expect(double?.repair).toMatchObject({ action: 'terminate_instance', host: 'h1', attempt: 2 })
    expect(double?.repair?.safeBecause).toBe('the instance runs on h2, where its conductor has it')
    expect(double?.problem).toContain("not built by this host's worker")
  })

  it('is for a person where only a try could remove it that the instance may still come to live under', () => {
    const hosts = { h1: aLook([aGuest(1, { attempt: 2, over: true })]), h2: right }

    expect(short(anObservation({ hosts, claims, instances }))).toEqual(['double h1 1: for a person'])
  })
})

describe('a foreign guest', () => {
  it('is named, and never touched', () => {
    const uuid = 'F0E1D2C3-0000-4000-8000-000000000001'
    const seen = anObservation({ hosts: { h1: aLook([aGuest(1, { uuid, attempt: null })]) } })

    expect(found(seen)).toMatchObject([
      {
        kind: 'foreign_guest',
        uuid: uuid.toLowerCase(),
        repair: undefined,
        problem: 'a guest that is not ours (running, SEV); it holds a key for SEV that no claim counts',
      },
    ])
  })

  it('is not ours though a claim of its uuid is elsewhere, and holds no key when it runs in clear', () => {
    const guest = aGuest(1, { attempt: null, model: null })
    const seen = anObservation({ hosts: { h1: aLook([guest]), h2: SILENT }, claims: [aClaim(1, { host: 'h2' })] })

    expect(found(seen).map(({ kind, problem }) => `${kind}: ${problem}`)).toEqual([
      'foreign_guest: a guest that is not ours (running, in clear)',
    ])
  })
})

describe('an instance whose guest is not as it should be', () => {
  it('is missing when it does not run', () => {
    const hosts = { h1: aLook([aGuest(1, { state: 'crashed' })]) }
    const seen = anObservation({ hosts, claims: [aClaim(1)], instances: [anInstanceState(1)] })

    expect(short(seen)).toEqual(['missing_guest h1 1: for a person'])
    expect(found(seen)[0]?.problem).toBe('the instance is active on h1, try 1, but its guest is crashed')
  })

  it.each([
    [null, 'asked for SEV, and its guest runs in clear'],
    ['amd-sev-es', 'asked for SEV, and its guest runs with SEV-ES'],
  ] as const)('is otherwise encrypted when it runs with %s', (model, problem) => {
    const hosts = { h1: aLook([aGuest(1, { model })]) }
    const seen = anObservation({ hosts, claims: [aClaim(1)], instances: [anInstanceState(1)] })

    expect(found(seen)).toMatchObject([{ kind: 'wrong_encryption', repair: undefined, problem }])
  })

  it.each([
    ['nothing', [], 'VCPU, MEMORY_MB, MEM_ENCRYPTION_CONTEXT'],
    ['no slot', [aClaim(1, { resources: { VCPU: 1, MEMORY_MB: 2080 } })], 'MEM_ENCRYPTION_CONTEXT'],
  ])('lacks a claim when it has claimed %s', (_what, claims, missing) => {
    const seen = anObservation({ hosts: { h1: aLook([aGuest(1)]) }, claims, instances: [anInstanceState(1)] })

    expect(short(seen)).toEqual(['missing_claim h1 1: for a person'])
    expect(found(seen)[0]?.problem).toBe(`the guest is here, but of what it needs ${missing} is not claimed`)
  })

  it('lacks a claim also when it has one elsewhere, which is named', () => {
    const hosts = { h1: aLook([aGuest(1)]), h2: SILENT, h3: SILENT }
    const claims = [aClaim(1, { host: 'h2' }), aClaim(1, { host: 'h3' })]
    const [missing, ...others] = found(anObservation({ hosts, claims, instances: [anInstanceState(1)] }))

    expect(others).toEqual([])
    expect(missing?.problem).toBe(
      'the guest is here, but of what it needs VCPU, MEMORY_MB, MEM_ENCRYPTION_CONTEXT is not claimed; claims of it are on h2, h3',
    )
    expect(missing?.version).toEqual([
      ['h2', 1, CHANGED_AT],
      ['h3', 1, CHANGED_AT],
    ])
  })

  it.each([
    ['is missing there though it is in error', 'error', [], ['missing_guest h1 1: for a person']],
    ['lacks its claim also while it is in error', 'error', [aGuest(1)], ['missing_claim h1 1: for a person']],
    [
      'lacks its claim also while it is stopped',
      'stopped',
      [aGuest(1, { state: 'shutoff' })],
      ['missing_claim h1 1: for a person'],
    ],
    ['is not missing once it is deleted', 'deleted', [], []],
  ] as const)('with its host named %s', (_what, vm_state, guests, expected) => {
    const instances = [anInstanceState(1, { vm_state })]

    expect(short(anObservation({ hosts: { h1: aLook(guests) }, instances }))).toEqual(expected)
  })

  it.each([
    ['stopped and off', 'stopped', 'shutoff', []],
    ['stopped and running', 'stopped', 'running', ['missing_guest h1 1: for a person']],
    ['rescued and running', 'rescued', 'running', []],
    ['rescued and off', 'rescued', 'shutoff', ['missing_guest h1 1: for a person']],
    ['active and off', 'active', 'shutoff', ['missing_guest h1 1: for a person']],
    ['in error and off', 'error', 'shutoff', []],
  ] as const)('that is %s is as it should be, or told', (_what, vm_state, state, expected) => {
    const instances = [anInstanceState(1, { vm_state })]
    const hosts = { h1: aLook([aGuest(1, { state })]) }

    expect(short(anObservation({ hosts, claims: [aClaim(1)], instances }))).toEqual(expected)
  })

  it('is missing on no host that was not asked for', () => {
    const hosts = { h1: aLook([]), h2: aLook([aGuest(2)]) }
    const instances = [anInstanceState(1), anInstanceState(2, { host: 'h2' })]

    expect(found(anObservation({ hosts, instances, scope: [] }))).toEqual([])
  })
})

describe('keys that the kernel counts', () => {
  const guests = [aGuest(1), aGuest(2, { model: 'amd-sev-es' }), aGuest(3, { model: 'amd-sev-snp' })]
  const cloud = (changes: object, inventories = [aPool('h1', 'amd-sev')]) =>
    anObservation({
      hosts: { h1: aLook(guests, changes) },
      claims: [1, 2, 3].map((n) => aClaim(n)),
      instances: guests.map(({ model }, index) => anInstanceState(index + 1, { model })),
      inventories,
    })

  it('agree with the guests of each side, SEV-ES and SEV-SNP together', () => {
    expect(found(cloud({ keys: keys([1, 15], [2, 4]) }))).toEqual([])
  })

  it('are told when more are in use than guests hold, and when fewer are', () => {
    const [more] = found(cloud({ keys: keys([3, 15], [2, 4]) }))
    const [fewer] = found(cloud({ keys: keys([1, 15], [1, 4]) }))

    expect(more).toMatchObject({
      kind: 'key_count',
      uuid: undefined,
      repair: undefined,
      problem: "keys for SEV in use: 3 by the kernel's count, 1 by the guests that run",
      numbers: { counted: 3, guests: 1, capacity: 15 },
      advice: expect.stringContaining('no hypervisor shows who holds 2 of them'),
    })
    expect(fewer).toMatchObject({
      problem: "keys for SEV-ES and SEV-SNP in use: 1 by the kernel's count, 2 by the guests that run",
      advice: expect.stringContaining('do not trust any here'),
    })
  })

  it('are not compared while the host starts or ends guests, nor where it does not tell', () => {
    expect(found(cloud({ keys: keys([3, 15], [2, 4]), busy: 1 }))).toEqual([])
    expect(found(cloud({ keys: null }))).toEqual([])
  })

  it('are not held by a guest that does not run', () => {
    const stopped = aGuest(4, { state: 'shutoff', attempt: null })
    const seen = anObservation({ hosts: { h1: aLook([stopped], { keys: keys([0, 15]) }) } })

    expect(short(seen)).toEqual(['foreign_guest h1 4: for a person'])
  })

  it('are told when the host offers more slots than there are', () => {
    const pools = [aPool('h1', 'amd-sev', { capacity: 15 }), aPool('h1', 'amd-sev-es', { capacity: 5, offered: false })]

    expect(found(cloud({ keys: keys([1, 14], [2, 4]) }, pools))).toMatchObject([
      {
        kind: 'key_count',
        problem: 'the host offers 15 slots for SEV, and its kernel has 14 keys',
        numbers: { offered: 15, capacity: 14 },
      },
    ])
  })
})

describe("the scheduler's own tables", () => {
  it('are told where the use is not the sum of the allocations, even of a host that does not answer', () => {
    const inventories = [aPool('h1', 'amd-sev', { used: 3, allocated: 2 })]

    expect(found(anObservation({ hosts: { h1: SILENT }, inventories }))).toMatchObject([
      { kind: 'miscount', host: 'h1', numbers: { used: 3, pinned: 0, allocated: 2, allocated_pinned: 0 } },
    ])
  })

  it('are told where more is used than the host has, or than it still offers', () => {
    const shrunk = aPool('h1', 'amd-sev', { used: 3, allocated: 3, capacity: 2, fits: false })
    const withdrawn = aPool('h1', 'amd-sev-es', { used: 1, allocated: 1, offered: false })
    const idle = aPool('h2', 'amd-sev', { offered: false })
    const hosts = { h1: aLook([]), h2: aLook([]) }

    const problems = found(anObservation({ hosts, inventories: [shrunk, withdrawn, idle] })).map(
      ({ kind, problem }) => `${kind}: ${problem}`,
    )

    expect(problems).toEqual([
      'overcommit: MEM_ENCRYPTION_CONTEXT of h1_amd-sev: 3 used of 2: the host has shrunk under its guests',
      'overcommit: MEM_ENCRYPTION_CONTEXT of h1_amd-sev-es: 1 used, and the host offers none any more',
    ])
  })
})

describe('two looks', () => {
  const leak = (changes: object, instance: object = {}) => {
    const instances = [anInstanceState(1, { ...DELETED, ...instance })]
    const [finding] = found(anObservation({ hosts: { h1: aLook([]) }, claims: [aClaim(1, changes)], instances }))
    return identity(finding as Finding)
  }

  it('see the same only when claim and instance have not changed between them', () => {
    expect(leak({})).toBe(leak({}))
    expect(leak({})).not.toBe(leak({ attempt: 2 }))
    expect(leak({})).not.toBe(leak({ changedAt: '2026-03-01T10:00:01.000Z' }))
    expect(leak({})).not.toBe(leak({ resources: { VCPU: 2 } }))
    expect(leak({})).not.toBe(leak({}, { updated_at: '2026-03-01T10:00:01.000Z' }))
  })
})

describe('disks that no guest of their host has for its own', () => {
  const disks = (n: number, bytes = 196_608, aside = false) => ({
    uuid: uuidOf(n),
    folder: `/instances/${uuidOf(n)}${aside ? '_resize' : ''}`,
    aside,
    bytes,
  })

  it('are told with whose they are and how large, and go where their instance is gone', () => {
    const seen = anObservation({
      hosts: { h1: aLook([], { disks: [disks(1), disks(1, 1024 ** 3, true)] }) },
      instances: [anInstanceState(1, DELETED)],
    })

    expect(found(seen)).toEqual([
      {
        kind: 'stray_disks',
        host: 'h1',
        uuid: uuidOf(1),
        instance: anInstanceState(1, DELETED),
        version: [`/instances/${uuidOf(1)} 196608`, `/instances/${uuidOf(1)}_resize 1073741824`],
        problem: `1.0 GiB in /instances/${uuidOf(1)}, /instances/${uuidOf(1)}_resize of disks are left here; the instance is deleted`,
        numbers: { bytes: 1_073_938_432 },
        repair: {
          action: 'remove_stray_disks',
          host: 'h1',
          does: 'has the host remove them, after it has asked a conductor itself',
          safeBecause: 'the instance is deleted: nothing of it is to run anywhere',
        },
        advice: undefined,
      },
    ])
  })

  it.each([
    ['was put away as an image', SHELVED, undefined, 'remove_stray_disks on h1'],
    ['has found no host', FAILED, undefined, 'remove_stray_disks on h1'],
    [
      'was evacuated, and is there',
      { host: 'h2', attempt: 2 },
      aLook([aGuest(1, { attempt: 2 })]),
      'remove_stray_disks on h1',
    ],
    ['was evacuated, and is not there', { host: 'h2', attempt: 2 }, aLook([]), 'for a person'],
    ['was evacuated to a host that is silent', { host: 'h2', attempt: 2 }, SILENT, 'for a person'],
  ] as const)('of an instance that %s', (_what, state, h2, how) => {
    const hosts = { h1: aLook([], { disks: [disks(1)] }), ...(h2 && { h2 }) }
    const seen = anObservation({ hosts, instances: [anInstanceState(1, state)] })

    expect(short(seen).filter((each) => each.startsWith('stray'))).toEqual([`stray_disks h1 1: ${how}`])
  })

  it('are those that a move has set aside which is over, beside the guest that has its own', () => {
    const aside = { disks: [disks(1, 10, true)] }
    const instances = [anInstanceState(1)]
    const claims = [aClaim(1)]

    expect(short(anObservation({ hosts: { h1: aLook([aGuest(1)], aside) }, claims, instances }))).toEqual([
      'stray_disks h1 1: remove_stray_disks on h1',
    ])
    const alone = anObservation({ hosts: { h1: aLook([], aside) }, claims, instances })
    expect(short(alone).filter((each) => each.startsWith('stray'))).toEqual(['stray_disks h1 1: for a person'])
  })

  it('are for a person where no conductor knows the instance', () => {
    const seen = anObservation({ hosts: { h1: aLook([], { disks: [disks(7)] }) }, instances: [] })

    expect(short(seen)).toEqual(['stray_disks h1 7: for a person'])
  })

  it.each([
    ['its instance is to be built there', { vm_state: 'building', task_state: 'spawning' }],
    ['its instance is there, and stopped', { vm_state: 'stopped' }],
    ['its instance has left, and nobody has decided', { vm_state: 'resized', host: 'h2', leaving: 'h1' }],
    ['a move of it is under way', { host: 'h2', task_state: 'resize_migrating' }],
    ['something is still to be said to the host', { host: 'h2', hosts_waiting: ['h1'] }],
    ['something about it has not left its conductor', { ...DELETED, messages_waiting: true }],
  ] as const)('are no finding while %s', (_when, state) => {
    const hosts = { h1: aLook([], { disks: [disks(1)] }), h2: aLook([aGuest(1)]) }
    const seen = anObservation({ hosts, instances: [anInstanceState(1, { ...state } as object)] })

    expect(short(seen).filter((each) => each.startsWith('stray'))).toEqual([])
  })

  it('belong to the guest where one of an instance that is elsewhere is there', () => {
    const hosts = { h1: aLook([aGuest(1, { state: 'shutoff' })], { disks: [disks(1)] }), h2: aLook([aGuest(1)]) }
    const seen = anObservation({ hosts, instances: [anInstanceState(1, { host: 'h2' })] })

    expect(short(seen).map((each) => each.split(' ')[0])).not.toContain('stray_disks')
  })
})
