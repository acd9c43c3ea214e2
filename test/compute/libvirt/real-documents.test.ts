import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseDomainCapabilities } from '../../../src/compute/libvirt/domain-capabilities.ts'
import { decideHostCapabilities, HostCapabilities } from '../../../src/compute/libvirt/host-capabilities.ts'
import {
  machineTypesOf,
  machineTypesOfInterest,
  parseLibvirtCapabilities,
} from '../../../src/compute/libvirt/libvirt-capabilities.ts'
import { DEFAULT_RESOURCE_OPTIONS, hostReport } from '../../../src/compute/resource-tracker.ts'
import { SevbusError } from '../../../src/errors.ts'
import { HostReport } from '../../../src/objects/host-report.ts'

/** What libvirt 9.0 and 11.3 wrote on Debian, without the models of processors that nobody reads. */
const data = (name: string) => readFileSync(`test/compute/data/${name}.xml`, 'utf8')
const libvirt = parseLibvirtCapabilities(data('capabilities-9.0'))
const ALL_ON = { sev: 'Y\n', sev_es: 'Y\n', sev_snp: 'N\n' }

describe('the capabilities of a real libvirt', () => {
  it('name its architectures, and the aliases of their machine types first', () => {
    expect(libvirt.arch).toBe('x86_64')
    expect(libvirt.guests.map(({ arch, domainTypes }) => [arch, domainTypes])).toEqual([
      ['i686', ['qemu', 'kvm']],
      ['x86_64', ['qemu', 'kvm']],
    ])
    const machines = machineTypesOf(libvirt, 'x86_64')
    expect(machines.slice(0, 2).toSorted()).toEqual(['pc', 'q35'])
    expect(machines).toContain('pc-q35-7.2')
    expect(machineTypesOf(libvirt, 'aarch64')).toEqual([])
  })

  it('leave out machine types whose names no report would take: the host is told with all others', () => {
    const [fits, tooLong] = ['a'.repeat(64), 'a'.repeat(65)]
    const more = `<machine canonical='${fits}'>${tooLong}</machine><machine>${fits}</machine><machine/>`
    const named = parseLibvirtCapabilities(data('capabilities-9.0').replaceAll('<domain type=', `${more}<domain type=`))
    const report = hostReport({
      host: 'cn-1',
      hypervisorType: 'QEMU',
      capabilities: decideHostCapabilities({
        arch: 'x86_64',
        defaultMachineType: 'q35',
        machineTypes: machineTypesOf(named, 'x86_64'),
        documents: [],
        kernel: ALL_ON,
      }),
      resources: { vcpus: 1, memory_mb: 1024, disk_gb: 1 },
      options: DEFAULT_RESOURCE_OPTIONS,
      ioOps: 0,
      traits: [],
      reportIntervalSeconds: 10,
    })

    expect(HostReport.parse(report).machine_types).toEqual([...machineTypesOf(libvirt, 'x86_64'), fits])
  })

  it('say for which machine types it is worth asking: aliases, and the default where it is one of the host', () => {
    const of = (byDefault: string) => machineTypesOfInterest(libvirt, 'x86_64', byDefault)

    expect(of('q35').toSorted()).toEqual(['pc', 'q35'])
    expect(of('pc-q35-5.2')[0]).toBe('pc-q35-5.2')
    expect(of('virt').toSorted()).toEqual(['pc', 'q35'])
  })

  it('decide with the domain capabilities of the same host what it offers', () => {
    const host = decideHostCapabilities({
      arch: libvirt.arch ?? '',
      defaultMachineType: 'pc',
      machineTypes: machineTypesOf(libvirt, 'x86_64'),
      documents: ['9.0-pc', '9.0-sev-q35'].map((name) => parseDomainCapabilities(data(`domain-capabilities-${name}`))),
      kernel: ALL_ON,
    })

    expect(host).toMatchObject({ supportsUefi: true, cbitpos: 47, reducedPhysBits: 1 })
    expect(host.slots).toEqual({ 'amd-sev': 410, 'amd-sev-es': 99 })
    expect(host.diskBuses).toContain('scsi')
    expect(HostCapabilities.parse(JSON.parse(JSON.stringify(host)))).toEqual(host)
  })

  it('of a later release offer SEV-SNP in place of SEV-ES, when the kernel has it on', () => {
    const host = decideHostCapabilities({
      arch: 'x86_64',
      defaultMachineType: 'q35',
      machineTypes: ['q35'],
      documents: [parseDomainCapabilities(data('domain-capabilities-11.3-sev-q35'))],
      kernel: { ...ALL_ON, sev_snp: 'Y\n' },
    })

    expect(host.slots).toEqual({ 'amd-sev': 410, 'amd-sev-snp': 99 })
  })

  it('that are damaged in any way are read, or refused by name, and never more', () => {
    const documents = [
      ['capabilities-9.0', parseLibvirtCapabilities],
      ['domain-capabilities-11.3-sev-q35', parseDomainCapabilities],
    ] as const
    fc.assert(
      fc.property(
        fc.constantFrom(...documents),
        fc.array(fc.record({ at: fc.nat(5000), cut: fc.nat(40), put: fc.string({ maxLength: 8 }) }), { maxLength: 4 }),
        ([name, parse], damages) => {
          let text = data(name)
          for (const { at, cut, put } of damages) text = text.slice(0, at) + put + text.slice(at + cut)
          try {
            const parsed = parse(text)
            if (!('sev' in parsed)) return
            const facts = { arch: 'x86_64', defaultMachineType: 'q35', machineTypes: ['q35'], kernel: ALL_ON }
            HostCapabilities.parse(decideHostCapabilities({ ...facts, documents: [parsed] }))
          } catch (error) {
            expect(error).toBeInstanceOf(SevbusError)
          }
        },
      ),
      { numRuns: 300 },
    )
  })
})
