import type { DomainSpec } from '../domain-spec.ts'
import type { GuestSpec } from '../guest-spec.ts'
import type { HostCapabilities } from '../host-capabilities.ts'

/**
 * One concern of a domain: takes the value built so far, gives a new one. No I/O, no clock.
 *
 * @throws a typed error when this host cannot give what the guest needs
 */
export type Configurator = (domain: DomainSpec, guest: GuestSpec, host: HostCapabilities) => DomainSpec
