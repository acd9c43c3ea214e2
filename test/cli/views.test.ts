import { readFileSync } from 'node:fs'
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { attemptLines, migrationLines, reportLines } from '../../src/cli/attempt-view.ts'
import { EXIT, exitCodeFor } from '../../src/cli/exit-codes.ts'
import { EXAMPLES, EXIT_CODES_HELP } from '../../src/cli/help.ts'
import { hostFacts, hostTable } from '../../src/cli/host-view.ts'
import { encryptionLabel, failureLines, instanceTable } from '../../src/cli/instance-view.ts'
import { billingFacts, notificationLine } from '../../src/cli/notification-view.ts'
import { facts, table } from '../../src/cli/table.ts'
import * as errors from '../../src/errors.ts'
import { HostSummary } from '../../src/objects/host-report.ts'
import type { Instance, VmState } from '../../src/objects/instance.ts'
import { aFlavor, anImage } from '../support/requests.ts'

const plain = stripVTControlCharacters

describe('notifications', () => {
  it('are a line each, with the encryption where there is a guest', () => {
    const line = (sample: string) => {
      const told = JSON.parse(readFileSync(`docs/notifications/${sample}.json`, 'utf8'))
      return plain(notificationLine(billingFacts({ message_id: 'm-1', ...told }))).replace(/ +/g, ' ')
    }

    expect(
      [
        ...['instance-create-end', 'compute_task-build_instances-error', 'scheduler-select_destinations-start'],
        ...['service-create', 'aggregate-create-end', 'server_group-create', 'compute-exception'],
        ...['libvirt-connect-error'],
      ].map(line),
    ).toEqual([
      'instance.create.end some-server on node1: amd-sev, hw:mem_encryption=true',
      'compute_task.build_instances.error 178b0921-8f85-4257-88b6-2e743b5a975c on no host: amd-sev, hw:mem_encryption=true resources:MEM_ENCRYPTION_CONTEXT=1 trait:HW_CPU_X86_AMD_SEV=required',
      'scheduler.select_destinations.start 178b0921-8f85-4257-88b6-2e743b5a975c hw:mem_encryption=true resources:MEM_ENCRYPTION_CONTEXT=1 trait:HW_CPU_X86_AMD_SEV=required',
      'service.create node1',
      'aggregate.create.end my-aggregate',
      'server_group.create test-server-group',
      'compute.exception InstanceNotFound',
      'libvirt.connect.error 10.0.2.15',
    ])
  })
})

describe('tables', () => {
  it('have columns as wide as what stands in them, colours not counted', () => {
    expect(
      plain(
        table(
          ['A', 'LONG'],
          [
            ['\u001b[32mgreen\u001b[39m', 'x'],
            ['b', 'y'],
          ],
        ),
      ),
    ).toBe(['A      LONG', 'green  x', 'b      y'].join('\n'))
  })

  it('say so when there is nothing to show', () => {
    expect(instanceTable([])).toBe('no instances')
    expect(hostTable([])).toBe('no host has reported yet')
  })

  it('align the facts of one thing', () => {
    expect(
      plain(
        facts([
          ['uuid', '1'],
          ['display name', 'x'],
        ]),
      ),
    ).toBe('uuid          1\ndisplay name  x')
  })

  it('show the slots of each model, and a dash where a host has none', () => {
    const slots = { total: 15, reserved: 3, capacity: 12, used: 12 }
    const host = HostSummary.parse({
      host: 'node1',
      state: 'up',
      disabled: false,
      disabled_reason: null,
      last_seen_up: '2026-01-01T00:00:00Z',
      default_machine_type: 'q35',
      instances: 12,
      providers: [
        { name: 'node1', model: null, inventories: { VCPU: { total: 8, reserved: 0, capacity: 32, used: 12 } } },
        { name: 'node1_amd_sev', model: 'amd-sev', inventories: { MEM_ENCRYPTION_CONTEXT: slots } },
      ],
    })

    expect(plain(hostTable([host]))).toBe(
      [
        'HOST   ZONE  STATE  INSTANCES  SEV    SEV-ES  SEV-SNP  VCPU   MEMORY_MB  MACHINE',
        'node1  nova  up     12         12/12  -       -        12/32  -          q35',
      ].join('\n'),
    )
  })

  it('say below the hosts why a pool of theirs gives no slot', () => {
    const slots = (used: number) => ({ total: 3, reserved: 0, capacity: 0, used })
    const host = HostSummary.parse({
      host: 'node1',
      state: 'up',
      disabled: false,
      disabled_reason: null,
      last_seen_up: '2026-01-01T00:00:00Z',
      default_machine_type: 'q35',
      missing_models: {
        'amd-sev': 'the kernel has it off',
        'amd-sev-es': 'SEV-SNP is on',
        'amd-sev-snp': 'SEV-SNP is off while 2 SEV-ES slots are in use: a host runs one of the two',
      },
      instances: 2,
      providers: [
        { name: 'node1_amd_sev_es', model: 'amd-sev-es', inventories: { MEM_ENCRYPTION_CONTEXT: slots(2) } },
        { name: 'node1_amd_sev_snp', model: 'amd-sev-snp', inventories: { MEM_ENCRYPTION_CONTEXT: slots(0) } },
      ],
    })

    expect(plain(hostTable([host]))).toBe(
      [
        'HOST   ZONE  STATE  INSTANCES  SEV  SEV-ES  SEV-SNP  VCPU  MEMORY_MB  MACHINE',
        'node1  nova  up     2          -    2/0     0/0      -     -          q35',
        'node1: no SEV-ES: SEV-SNP is on',
        'node1: no SEV-SNP: SEV-SNP is off while 2 SEV-ES slots are in use: a host runs one of the two',
      ].join('\n'),
    )
  })

  it('say of a host whose hypervisor does not answer since when, and why', () => {
    const host = HostSummary.parse({
      host: 'node1',
      state: 'up',
      disabled: false,
      disabled_reason: null,
      hypervisor_silence: { since: '2026-01-01T00:00:00.000Z', reason: 'connect ENOENT' },
      last_seen_up: '2026-01-01T00:01:00Z',
      default_machine_type: 'q35',
      instances: 2,
      providers: [],
    })

    expect(plain(hostTable([host]))).toBe(
      [
        'HOST   ZONE  STATE              INSTANCES  SEV  SEV-ES  SEV-SNP  VCPU  MEMORY_MB  MACHINE',
        'node1  nova  hypervisor silent  2          -    -       -        -     -          q35',
        'node1: hypervisor silent since 2026-01-01T00:00:00.000Z: connect ENOENT',
      ].join('\n'),
    )
    expect(plain(hostFacts(host))).toMatch(/^silent +since 2026-01-01T00:00:00.000Z: connect ENOENT$/m)
  })

  it('tell of moves what is left of them, and how it ends', () => {
    const move = {
      uuid: 'aaaaaaaa-0000-4000-8000-000000000001',
      type: 'evacuation' as const,
      source_host: 'node1',
      source_attempt: 1,
      dest_host: 'node2',
      source_flavor: null,
      new_flavor: null,
      created_at: '2026-01-01T00:00:00.000Z',
      updated_at: '2026-01-01T00:00:00.000Z',
    }

    expect(
      migrationLines([
        { ...move, status: 'failed', dest_host: null },
        { ...move, status: 'completed' },
        { ...move, status: 'done' },
        { ...move, status: 'accepted', dest_host: null },
        { ...move, type: 'resize', status: 'finished', source_flavor: 'm1.small', new_flavor: 'm1.sev' },
        { ...move, type: 'migration', status: 'confirming' },
        { ...move, type: 'migration', status: 'reverting' },
        { ...move, type: 'migration', status: 'reverted' },
      ]).split('\n'),
    ).toEqual([
      'evacuation from node1: failed; the instance stayed on node1',
      'evacuation from node1 to node2: done, and node1 has nothing of it any more',
      'evacuation from node1 to node2: done; what it had on node1 stays claimed until that host is back and has removed the guest, or is powered off for good: sevbus host set node1 --fenced',
      'evacuation from node1: under way',
      'resize from node1 to node2, m1.small to m1.sev: there; what it had on node1 is kept until you decide: sevbus resize-confirm, or resize-revert',
      'migration from node1 to node2: it stays; node1 is told to remove what it had there',
      'migration from node1 to node2: it goes back; node2 is told to remove what it has there',
      'migration from node1 to node2: reverted; the instance is on node1 as before',
    ])
    expect(migrationLines([])).toBe('')
  })

  it('tell of a try who said no and why', () => {
    const attempt = {
      attempt: 1,
      host: null,
      outcome: 'no valid host' as const,
      reason: 'no valid host: 1 host considered',
      allocations: [],
      report: {
        hosts_considered: 1,
        rejected: [{ filter: 'MemEncryptionSlots', hosts: 1 }],
        rejections: [{ host: 'node1', filter: 'MemEncryptionSlots', reason: '15 of 15 SEV slots used, 0 reserved' }],
        ranking: [],
      },
      started_at: '2026-01-01T00:00:00.000Z',
      ended_at: null,
    }

    expect(plain(attemptLines([attempt]))).toBe(
      [
        'try 1: no valid host',
        '  no valid host: 1 host considered',
        '  1 host(s) considered',
        '  rejected: MemEncryptionSlots 1',
        '    HOST   FILTER              REASON',
        '    node1  MemEncryptionSlots  15 of 15 SEV slots used, 0 reserved',
      ].join('\n'),
    )
  })

  it('tell why a better model was not to be had before the order of the hosts for the one that was', () => {
    const refusals = {
      hosts_considered: 1,
      rejected: [{ filter: 'MemEncryptionModel', hosts: 1 }],
      rejections: [{ host: 'node1', filter: 'MemEncryptionModel', reason: 'SNP is off because of the BIOS' }],
    }
    const report = {
      model: 'amd-sev-es' as const,
      hosts_considered: 1,
      rejected: [],
      rejections: [],
      ranking: [{ host: 'node1', weight: 1, weights: { RAM: 1 } }],
      refused_models: [{ model: 'amd-sev-snp' as const, ...refusals }],
    }

    expect(plain(reportLines(report).join('\n'))).toBe(
      [
        '  SEV-SNP: 1 host(s) considered',
        '  rejected: MemEncryptionModel 1',
        '    HOST   FILTER              REASON',
        '    node1  MemEncryptionModel  SNP is off because of the BIOS',
        '  SEV-ES: 1 host(s) considered',
        '  best first:',
        '    HOST   WEIGHT  OF WHICH',
        '    node1  1.00    RAM 1.00',
      ].join('\n'),
    )
  })

  it('say so when no weigher tells a host from the others', () => {
    const ranking = [{ host: 'node1', weight: 0, weights: { RAM: 0, CPU: 0 } }]
    const report = { hosts_considered: 1, rejected: [], rejections: [], ranking }

    expect(plain(reportLines(report).at(-1) ?? '')).toContain('node1  0.00    no weigher tells it from the others')
  })

  it('name all models that would do until one was chosen', () => {
    const flavor = aFlavor({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-snp, amd-sev-es' })
    const of = (vm_state: VmState, host: string | null) =>
      encryptionLabel({
        vm_state,
        host,
        flavor,
        image: anImage(),
        mem_encryption: { model: 'amd-sev-es', policy: '0x0037', requested_by: 'flavor' },
      })

    expect(of('building', null)).toBe('SEV-SNP or SEV-ES')
    expect(of('error', null)).toBe('SEV-SNP or SEV-ES')
    expect(of('building', 'cn-1')).toBe('SEV-ES')
    expect(of('active', 'cn-1')).toBe('SEV-ES')
    expect(of('deleted', null)).toBe('SEV-ES')
  })
})

describe('failures', () => {
  it('that are alike are told in one line, whichever instance each message names', () => {
    const failed = (name: string, uuid: string, message: string) =>
      ({ name, uuid, fault: { code: 'NO_VALID_HOST', message } }) as Instance
    const [one, two, three] = ['1', '2', '3'].map((digit) => `${digit.repeat(8)}-0000-4000-8000-000000000000`)

    expect(
      failureLines([
        failed('web-1', one as string, `no valid host for instance ${one}: 2 hosts considered`),
        failed('web-2', two as string, `no valid host for instance ${two}: 3 hosts considered`),
        failed('web-3', three as string, `no valid host for instance ${three}: 2 hosts considered`),
      ]),
    ).toEqual([
      `web-1 and 1 more: NO_VALID_HOST: no valid host for instance ${one}: 2 hosts considered`,
      `web-2: NO_VALID_HOST: no valid host for instance ${two}: 3 hosts considered`,
    ])
  })
})

describe('exit codes', () => {
  it.each([
    [new errors.InvalidConfiguration('x'), EXIT.USAGE],
    [new errors.NoSuchServer('x'), EXIT.UNREACHABLE],
    [new errors.InstanceNotFound('x'), EXIT.NOT_FOUND],
    [new errors.FlavorImageConflict('x'), EXIT.REFUSED],
    [new errors.InternalError('x'), EXIT.FAILED],
  ])('%s gives %i', (error, code) => {
    expect(exitCodeFor(error)).toBe(code)
  })

  it('are all told in the help', () => {
    for (const code of Object.values(EXIT)) expect(EXIT_CODES_HELP).toContain(`\n  ${code}  `)
  })

  it('and every command teaches by an example', () => {
    const commands = [
      'audit',
      'demo',
      'dev',
      'conductor',
      'scheduler',
      'compute',
      'boot',
      'list',
      'show',
      'delete',
      'evacuate',
      ...['resize', 'migrate', 'live-migrate', 'live-migration-abort', 'live-migration-force-complete'],
      ...['resize-confirm', 'resize-revert', 'rebuild'],
      'hosts',
      'explain',
      'host',
      'aggregate',
      'group',
      'events',
      ...['start', 'stop', 'reboot', 'pause', 'unpause', 'suspend', 'resume'],
      ...['rescue', 'unrescue', 'shelve', 'unshelve'],
      'dead-letters',
      'db',
      'lint',
      'xml',
      'host-capabilities',
      'doctor',
      'bill',
      'broker',
      ...[
        'attach-volume',
        'detach-volume',
        'attach-interface',
        'detach-interface',
        'snapshot',
        'console',
        'console-log',
      ],
    ]

    expect(Object.keys(EXAMPLES).toSorted()).toEqual(['sevbus', ...commands].toSorted())
  })
})
