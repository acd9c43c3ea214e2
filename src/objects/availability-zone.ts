import { text } from './text.ts'

/** Name of a zone: hosts get one by an aggregate with the metadata `availability_zone`, as long as Nova stores it. */
export const AvailabilityZone = text(255).min(1)
