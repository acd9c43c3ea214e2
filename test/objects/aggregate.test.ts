import { describe, expect, it } from 'vitest'
import {
  Aggregate,
  AggregateMetadataChanges,
  NewAggregateMetadata,
  NewAggregateName,
} from '../../src/objects/aggregate.ts'

const problemsOf = (metadata: Record<string, string | null>) =>
  [NewAggregateMetadata, AggregateMetadataChanges].map((schema) =>
    schema.safeParse(metadata).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`),
  )

describe('the name of an aggregate', () => {
  it('is one that can be seen and told from others', () => {
    const taken = ['gold', 'room 1', '', ' ', '  ', ' gold', 'gold '].filter(
      (name) => NewAggregateName.safeParse(name).success,
    )

    expect(taken).toEqual(['gold', 'room 1'])
  })
})

describe('metadata of aggregates', () => {
  it.each([
    ['availability_zone', ''],
    ['availability_zone', '  '],
    ['availability_zone', ' room-1'],
  ])('refuses the zone %s=%j, which no request could name', (key, value) => {
    const problem = `${key}: ${JSON.stringify(value)} is no name of a zone; write one without blanks around it`
    expect(problemsOf({ [key]: value })).toEqual([[problem], [problem]])
  })

  it.each([
    ['max_instances_per_host', '-3'],
    ['max_instances_per_host', 'abc'],
    ['max_io_ops_per_host', '1.5'],
    ['max_io_ops_per_host', ''],
  ])('refuses the limit %s=%j', (key, value) => {
    const problem = `${key}: ${JSON.stringify(value)} is no limit; write a whole number from 0`
    expect(problemsOf({ [key]: value })).toEqual([[problem], [problem]])
  })

  it('refuses to keep hosts for nobody', () => {
    const problem =
      'filter_tenant_id_2: ", ," names no project, so nobody could use the hosts; write the ids of projects, with commas between'
    expect(problemsOf({ filter_tenant_id_2: ', ,' })).toEqual([[problem], [problem]])
  })

  it('takes what means something, and every key that only flavors read', () => {
    const metadata = {
      availability_zone: 'room 1',
      max_instances_per_host: '0',
      max_io_ops_per_host: '8',
      filter_tenant_id: 'blue, red,',
      ssd: '',
    }
    expect(problemsOf(metadata)).toEqual([undefined, undefined])
    expect(AggregateMetadataChanges.parse({ availability_zone: null, filter_tenant_id: null })).toEqual({
      availability_zone: null,
      filter_tenant_id: null,
    })
  })

  it('is shown as it is stored, whatever an earlier release took', () => {
    const stored = { name: 'old', metadata: { availability_zone: '', max_instances_per_host: 'abc' }, hosts: [] }
    expect(Aggregate.parse(stored)).toEqual(stored)
  })
})
