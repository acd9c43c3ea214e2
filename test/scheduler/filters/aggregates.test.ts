import { describe, expect, it } from 'vitest'
import { aggregateImagePropertiesIsolation } from '../../../src/scheduler/filters/aggregate-image-properties-isolation.ts'
import { aggregateInstanceExtraSpecs } from '../../../src/scheduler/filters/aggregate-instance-extra-specs.ts'
import { aggregateMultiTenancyIsolation } from '../../../src/scheduler/filters/aggregate-multi-tenancy-isolation.ts'
import { availabilityZone } from '../../../src/scheduler/filters/availability-zone.ts'
import type { HostFilter } from '../../../src/scheduler/filters/host-filter.ts'
import { ioOps } from '../../../src/scheduler/filters/io-ops.ts'
import { numInstances } from '../../../src/scheduler/filters/num-instances.ts'
import type { HostState } from '../../../src/scheduler/host-state.ts'
import { aHost, aRequest } from '../builders.ts'

type Metadata = Readonly<Record<string, string>>

/** In one aggregate for each argument: gold, silver, bronze. */
function aHostIn(...metadata: readonly Metadata[]): HostState {
  const names = ['gold', 'silver', 'bronze']
  return aHost('cn-1', {
    state: { aggregates: metadata.map((each, n) => ({ name: names[n] as string, metadata: each })) },
  })
}

const why = (filter: HostFilter, host: HostState, request: Parameters<typeof aRequest>[0] = {}) =>
  filter.reject(host, aRequest(request))

describe('AvailabilityZoneFilter', () => {
  it('passes every host when no zone is asked for', () => {
    expect(why(availabilityZone, aHostIn({ availability_zone: 'room-1' }))).toBeUndefined()
    expect(availabilityZone.concern?.(aRequest())).toBeUndefined()
  })

  it('passes hosts of the zone; those that no aggregate puts into one are in nova', () => {
    const inRoom1 = { spec: { availability_zone: 'room-1' } }

    expect(why(availabilityZone, aHostIn({ ssd: 'true' }, { availability_zone: 'room-1' }), inRoom1)).toBeUndefined()
    expect(why(availabilityZone, aHostIn({ ssd: 'true' }), { spec: { availability_zone: 'nova' } })).toBeUndefined()
  })

  it('rejects hosts of other zones, and names both', () => {
    const inRoom1 = { spec: { availability_zone: 'room-1' } }

    expect(why(availabilityZone, aHostIn({ availability_zone: 'room-2' }), inRoom1)).toBe(
      'in zone room-2, asked for is zone room-1',
    )
    expect(why(availabilityZone, aHost('cn-1'), inRoom1)).toBe('in zone nova, asked for is zone room-1')
    expect(availabilityZone.concern?.(aRequest(inRoom1))).toBe('room-1')
  })
})

describe('AggregateMultiTenancyIsolation', () => {
  const ofBlue = { spec: { project_id: 'blue' } }

  it('leaves hosts to everybody whose aggregates name no project', () => {
    expect(why(aggregateMultiTenancyIsolation, aHost('cn-1'), ofBlue)).toBeUndefined()
    expect(why(aggregateMultiTenancyIsolation, aHostIn({ ssd: 'true' }), ofBlue)).toBeUndefined()
  })

  it('keeps hosts to the projects that their aggregates name, all of them together', () => {
    const host = aHostIn({ filter_tenant_id: 'red, blue' }, { filter_tenant_id_2: 'green' })

    expect(why(aggregateMultiTenancyIsolation, host, ofBlue)).toBeUndefined()
    expect(why(aggregateMultiTenancyIsolation, host, { spec: { project_id: 'green' } })).toBeUndefined()
    expect(why(aggregateMultiTenancyIsolation, host, { spec: { project_id: 'grey' } })).toBe(
      'aggregate gold, silver is kept for project red, blue, green; the request is of grey',
    )
    expect(why(aggregateMultiTenancyIsolation, host)).toBe(
      'aggregate gold, silver is kept for project red, blue, green; the request is of no project',
    )
  })

  it('looks at the project, and tells requests of two apart', () => {
    expect(aggregateMultiTenancyIsolation.concern?.(aRequest(ofBlue))).toBe('blue')
    expect(aggregateMultiTenancyIsolation.concern?.(aRequest())).toBe('')
  })
})

describe('AggregateImagePropertiesIsolation', () => {
  it('passes images that have the value, or not the property', () => {
    const host = aHostIn({ os_type: 'windows,linux', os_distro: 'debian' })

    expect(why(aggregateImagePropertiesIsolation, host, { image: { os_type: 'linux' } })).toBeUndefined()
    expect(why(aggregateImagePropertiesIsolation, host, { image: {} })).toBeUndefined()
    expect(why(aggregateImagePropertiesIsolation, host, { image: { os_type: '' } })).toBeUndefined()
    const none = { ...aRequest().spec.image, properties: { os_type: null } }
    expect(why(aggregateImagePropertiesIsolation, host, { spec: { image: none } })).toBeUndefined()
    expect(why(aggregateImagePropertiesIsolation, aHost('cn-1'), { image: { os_type: 'linux' } })).toBeUndefined()
  })

  it('rejects images that have another value, and names the aggregate, the property and both', () => {
    const host = aHostIn({ rack: '7' }, { os_type: 'windows' })

    expect(why(aggregateImagePropertiesIsolation, host, { image: { os_type: 'linux' } })).toBe(
      'aggregate silver is for images with os_type=windows; this one has linux',
    )
  })

  it('reads truth values of an image as their words', () => {
    const host = aHostIn({ hw_mem_encryption: 'true' })
    const image = { id: null, name: null, min_ram: 0, min_disk: 0, properties: { hw_mem_encryption: true } }

    expect(why(aggregateImagePropertiesIsolation, host, { spec: { image } })).toBeUndefined()
  })
})

describe('AggregateInstanceExtraSpecsFilter', () => {
  const flavorWith = (extra_specs: Metadata) => ({
    spec: { flavor: { ...aRequest().spec.flavor, extra_specs: { ...extra_specs } } },
  })
  const wants = (asked: string) => flavorWith({ 'aggregate_instance_extra_specs:ssd': asked })

  it('passes flavors that ask for nothing of aggregates: other scopes, and keys without one, are not meant', () => {
    const others = flavorWith({ 'hw:cpu_policy': 'shared', quota: '7', 'capabilities:x': '1' })

    expect(why(aggregateInstanceExtraSpecs, aHost('cn-1'), others)).toBeUndefined()
  })

  it('passes hosts of an aggregate that says so, as one of its values', () => {
    expect(why(aggregateInstanceExtraSpecs, aHostIn({ ssd: 'true' }), wants('true'))).toBeUndefined()
    expect(why(aggregateInstanceExtraSpecs, aHostIn({ ssd: 'a' }, { ssd: 'b,true' }), wants('true'))).toBeUndefined()
  })

  it('rejects hosts whose aggregates say another, or nothing, with the words of both', () => {
    expect(why(aggregateInstanceExtraSpecs, aHostIn({ ssd: 'no' }, { ssd: 'maybe' }), wants('true'))).toBe(
      'aggregate gold, silver says ssd=no, maybe; the flavor wants true',
    )
    expect(why(aggregateInstanceExtraSpecs, aHost('cn-1'), wants('true'))).toBe(
      'no aggregate of the host says ssd; the flavor wants true',
    )
  })

  it.each([
    ['= 4', '8', true],
    ['= 4', '4', true],
    ['==  4', '4', true],
    [' == 4 ', '4', true],
    ['== 4', '5', false],
    ['== ', '', false],
    ['!= 4', '4', false],
    ['>= 4', '4', true],
    ['>= 4', '5', true],
    ['>= 0', ' ', false],
    ['<= 4', '4', true],
    ['<= 4', '5', false],
    ['s== abc', 'abd', false],
    ['s!= abc', 'abd', true],
    ['s< b', 'b', false],
    ['s< b', 'c', false],
    ['s<= b', 'b', true],
    ['s<= b', 'a', true],
    ['s> b', 'b', false],
    ['s> b', 'a', false],
    ['s>= b', 'b', true],
    ['s>= b', 'c', true],
    ['s==', '', true],
    ['= 4', '2', false],
    ['== 4', '4.0', true],
    ['!= 4', '5', true],
    ['>= 4', '3', false],
    ['<= 4', '3', true],
    ['<= 4', '', false],
    ['>= 4', 'many', false],
    ['s== abc', 'abc', true],
    ['s!= abc', 'abc', false],
    ['s< b', 'a', true],
    ['s<= b', 'c', false],
    ['s> b', 'c', true],
    ['s>= b', 'a', false],
    ['<in> vx', 'avx2', true],
    ['<in> sse', 'avx2', false],
    ['<all-in> aes mmx', 'aes-mmx-sse', true],
    ['<all-in> aes avx', 'aes-mmx-sse', false],
    ['<or> fpu <or> gpu', 'gpu', true],
    ['<or> fpu <or> gpu', 'tpu', false],
    ['constructor x', 'constructor x', true],
  ])("%j is satisfied by %j as by Nova's operators: %s", (asked, said, satisfied) => {
    const reason = why(aggregateInstanceExtraSpecs, aHostIn({ ssd: said }), wants(asked))

    expect(reason === undefined).toBe(satisfied)
  })
})

describe('IoOpsFilter', () => {
  const busy = (ioOpsNow: number | undefined, ...metadata: readonly Metadata[]) => ({
    ...aHostIn(...metadata),
    ioOps: ioOpsNow,
  })

  it('has no limit but one that is set', () => {
    expect(why(ioOps(undefined), busy(1000))).toBeUndefined()
  })

  it('rejects a host with as many builds under way as it may have', () => {
    expect(why(ioOps(8), busy(7))).toBeUndefined()
    expect(why(ioOps(8), busy(8))).toBe('8 builds under way, at most 8 (max_io_ops_per_host)')
  })

  it('passes a host that does not tell', () => {
    expect(why(ioOps(8), busy(undefined))).toBeUndefined()
  })

  it('takes the least number that an aggregate of the host sets, above or below the option', () => {
    expect(why(ioOps(8), busy(8, { max_io_ops_per_host: '20' }, { max_io_ops_per_host: '10' }))).toBeUndefined()
    expect(why(ioOps(undefined), busy(2, { max_io_ops_per_host: '2' }))).toBe(
      '2 builds under way, at most 2 (max_io_ops_per_host)',
    )
    expect(why(ioOps(8), busy(10, { max_io_ops_per_host: '20' }, { max_io_ops_per_host: '10' }))).toBe(
      '10 builds under way, at most 10 (max_io_ops_per_host)',
    )
  })

  it('takes no notice of words that are no number', () => {
    for (const word of ['few', '']) {
      expect(why(ioOps(8), busy(7, { max_io_ops_per_host: word }))).toBeUndefined()
      expect(why(ioOps(8), busy(8, { max_io_ops_per_host: word }))).toBe(
        '8 builds under way, at most 8 (max_io_ops_per_host)',
      )
    }
  })
})

describe('NumInstancesFilter', () => {
  const full = (instances: number, ...metadata: readonly Metadata[]) => ({ ...aHostIn(...metadata), instances })

  it('rejects a host with as many instances as it may have, if any limit is set', () => {
    expect(why(numInstances(undefined), full(1000))).toBeUndefined()
    expect(why(numInstances(50), full(49))).toBeUndefined()
    expect(why(numInstances(50), full(50))).toBe('50 instances, at most 50 (max_instances_per_host)')
  })

  it("takes an aggregate's number instead", () => {
    expect(why(numInstances(50), full(50, { max_instances_per_host: '60' }))).toBeUndefined()
    expect(why(numInstances(undefined), full(5, { max_instances_per_host: '5' }))).toBe(
      '5 instances, at most 5 (max_instances_per_host)',
    )
  })
})
