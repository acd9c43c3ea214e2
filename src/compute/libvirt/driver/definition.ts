import { createHash } from 'node:crypto'
import type { DomainSpec } from '../domain-spec.ts'
import { domainXml, METADATA_NAMESPACE } from '../domain-xml.ts'
import { parseDomain } from '../parse-domain.ts'
import { attribute, child } from '../parse-xml.ts'

/** A domain as libvirt is told to make it. */
export interface Definition {
  readonly xml: string
  readonly sha256: string
}

/**
 * Signed with its own digest, by which the same definition is known again, whatever port it has been given here.
 * @throws InvalidDomainXml
 */
export function definitionOf(domain: DomainSpec): Definition {
  const sha256 = createHash('sha256')
    .update(domainXml(withoutPort(domain)))
    .digest('hex')
  return { xml: domainXml({ ...domain, metadata: { ...domain.metadata, sha256 } }), sha256 }
}

function withoutPort(domain: DomainSpec): DomainSpec {
  const { tcp, ...serial } = domain.serial
  if (tcp?.port === undefined) return domain
  return { ...domain, serial: { ...serial, tcp: { listen: tcp.listen, ports: tcp.ports } } }
}

/** Whose a domain is, by its metadata. */
export interface Ownership {
  /** Other domains of the host are none of our business. */
  readonly isOurs: boolean
  readonly sha256: string | undefined
}

/** @throws InvalidDomainXml */
export function ownershipOf(xml: string): Ownership {
  const instance = child(parseDomain(xml), 'metadata', 'sevbus:instance')
  return {
    isOurs: attribute(instance, 'xmlns:sevbus') === METADATA_NAMESPACE,
    sha256: attribute(child(instance, 'sevbus:definition'), 'sha256'),
  }
}
