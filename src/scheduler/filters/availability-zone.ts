import type { HostFilter } from './host-filter.ts'

/** Drops hosts of other zones than the request names. */
export const availabilityZone: HostFilter = {
  name: 'AvailabilityZoneFilter',
  isForComers: true,
  fix: 'ask for a zone that hosts are in, or put hosts into this one: sevbus aggregate set NAME --metadata availability_zone=ZONE',
  concern: ({ spec }) => spec.availability_zone ?? undefined,
  reject: (host, { spec: { availability_zone: asked } }) =>
    asked === null || asked === host.availabilityZone
      ? undefined
      : `in zone ${host.availabilityZone}, asked for is zone ${asked}`,
}
