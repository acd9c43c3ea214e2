import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { domainXml } from '../../../src/compute/libvirt/domain-xml.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import type { HostCapabilities } from '../../../src/compute/libvirt/host-capabilities.ts'
import { attribute, child, children, parseXml, type XmlElement } from '../../../src/compute/libvirt/parse-xml.ts'
import { encryptionFlaw } from '../../../src/compute/libvirt/verify-encryption.ts'
import { SevbusError } from '../../../src/errors.ts'
import type { Instance } from '../../../src/objects/instance.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryption, policyHex } from '../../../src/objects/mem-encryption.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance } from '../support/instances.ts'

const withCode = (code: string, retryable: boolean) => expect.objectContaining({ code, retryable })

function build(instance: Instance, host: HostCapabilities = aCapableHost()): string {
  return domainXml(buildDomain(guestSpec(instance), host))
}

describe('building a domain fails closed', () => {
  it('where the host offers no such model, and says why', () => {
    const host = aCapableHost({ slots: {}, missing: { 'amd-sev': 'the kernel has it off' } })

    expect(() => build(anInstance({ model: 'amd-sev' }), host)).toThrow(/amd-sev: the kernel has it off/)
    expect(() => build(anInstance({ model: 'amd-sev' }), host)).toThrow(withCode('HOST_CAPABILITY_MISSING', true))
  })

  it('where the host has no UEFI', () => {
    const host = aCapableHost({ supportsUefi: false })

    expect(() => build(anInstance({ model: 'amd-sev' }), host)).toThrow(withCode('HOST_CAPABILITY_MISSING', true))
    expect(() => build(anInstance(), host)).toThrow(withCode('HOST_CAPABILITY_MISSING', true))
  })

  it('where the default machine type is not q35 and the image leaves it open: another host may do', () => {
    const undecided = anInstance({ model: 'amd-sev', properties: { hw_machine_type: undefined } })

    expect(build(undecided)).toContain('machine="q35"')
    expect(() => build(undecided, aCapableHost({ defaultMachineType: 'pc' }))).toThrow(
      withCode('HOST_CAPABILITY_MISSING', true),
    )
  })

  it('where the host does not know the machine type', () => {
    expect(() => build(anInstance({ properties: { hw_machine_type: 'pc-q35-2.4' } }))).toThrow(
      withCode('HOST_CAPABILITY_MISSING', true),
    )
  })

  it('for an instance whose encryption was lost on the way', () => {
    const instance = { ...anInstance({ model: 'amd-sev' }), mem_encryption: null }

    expect(() => build(instance)).toThrow(withCode('INVALID_PROPERTY', false))
  })

  it('for an instance with a weaker policy than its model has', () => {
    const instance = anInstance({ model: 'amd-sev' })
    const weak = { ...instance, mem_encryption: { ...(instance.mem_encryption as MemEncryption), policy: '0x0000' } }

    expect(() => build(weak)).toThrow(withCode('INVALID_PROPERTY', false))
  })

  it('for an instance with another model than it asks for', () => {
    const sev = anInstance({ model: 'amd-sev' }).mem_encryption

    expect(() => build({ ...anInstance({ model: 'amd-sev-es' }), mem_encryption: sev })).toThrow(
      withCode('INVALID_PROPERTY', false),
    )
  })

  it('for a boot disk on virtio-blk, even where the request got past the conductor', () => {
    const instance = anInstance({ model: 'amd-sev' })
    const image = { ...instance.image, properties: { ...instance.image.properties, hw_disk_bus: 'virtio' } }

    expect(() => build({ ...instance, image })).toThrow(withCode('FLAVOR_IMAGE_CONFLICT', false))
  })
})

const ALL_MODELS = ['amd-sev', 'amd-sev-es', 'amd-sev-snp']
const spelledTrue = fc.constantFrom('true', 'True', '1', 'yes', 'on', 't', 'y', ' TRUE ')
const spelledFalse = fc.constantFrom('false', 'False', '0', 'no', 'off', 'f', 'n')
const model = fc.constantFrom('amd-sev' as const, 'amd-sev-es' as const, 'amd-sev-snp' as const)
const seldom = <T>(value: fc.Arbitrary<T>) => fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, value)
/** Mostly what works, so that guests are built at all; the rest is what somebody will write some day. */
const mostly = <T>(usual: T, ...others: T[]) =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(usual) }, ...others.map((value) => fc.constant(value)))

const flavorSpecs = fc.record({
  'hw:mem_encryption': fc.oneof(spelledTrue, fc.constant(undefined), fc.constant(undefined), spelledFalse),
  'hw:mem_encryption_model': fc.option(model, { nil: undefined }),
  'resources:MEM_ENCRYPTION_CONTEXT': mostly<string | undefined>(undefined, '1', '2'),
})
const imageProperties = fc.record({
  hw_mem_encryption: fc.oneof(spelledTrue, fc.constant(undefined), fc.constant(undefined), spelledFalse),
  hw_mem_encryption_model: seldom(model),
  hw_firmware_type: mostly<string | undefined>('uefi', 'bios', undefined),
  hw_firmware_stateless: mostly<string | undefined>('true', undefined),
  hw_machine_type: mostly<string | undefined>('q35', 'pc', 'pc-q35-9.2', undefined),
  hw_disk_bus: mostly<string | undefined>(undefined, 'virtio', 'scsi', 'sata', 'ide', 'usb'),
  hw_scsi_model: seldom(fc.constantFrom('virtio-scsi', 'lsilogic')),
  hw_qemu_guest_agent: seldom(fc.oneof(spelledTrue, spelledFalse)),
})
const hosts = fc
  .record({
    supportsUefi: mostly(true, false),
    defaultMachineType: mostly('q35', 'pc'),
    offered: fc.oneof(fc.constant(ALL_MODELS), fc.subarray([...ALL_MODELS])),
    cbitpos: mostly<number | undefined>(51, 47, undefined),
  })
  .map(({ offered, ...host }) =>
    aCapableHost({ ...host, slots: Object.fromEntries(offered.map((name) => [name, 15])) }),
  )

const requests = fc.record({
  specs: flavorSpecs,
  properties: imageProperties,
  disks: fc.record({ ephemeral_gb: fc.constantFrom(0, 5), swap: fc.constantFrom(0, 512) }),
  /** What the message claims, where it is not what the conductor decides. */
  lie: seldom(fc.option(model, { nil: null })),
})
type Request = typeof requests extends fc.Arbitrary<infer R> ? R : never

/** The instance of a request, or undefined where the conductor refuses it. */
function requested({ specs, properties, disks, lie }: Request): Instance | undefined {
  const honest = unlessRefused(() => anInstance({ flavor: { extra_specs: present(specs), ...disks }, properties }))
  if (honest === undefined || lie === undefined) return honest
  const told = lie && { model: lie, policy: policyHex(MEM_ENCRYPTION_MODELS[lie]), requested_by: 'flavor' as const }
  return { ...honest, mem_encryption: told }
}

describe('whatever is asked for, of whatever host', () => {
  it('an encrypted instance is never built without encryption, nor one in clear with it', () => {
    const seen = { encrypted: 0, clear: 0, refused: 0 }
    fc.assert(
      fc.property(requests, hosts, (request, host) => {
        const instance = requested(request)
        const xml = instance && unlessRefused(() => build(instance, host))
        if (instance === undefined || xml === undefined) {
          seen.refused++
          return
        }
        const asked = asksForEncryption(request)
        const domain = parseXml(xml, 'domain', 'the domain')
        if (asked) expectEncrypted(xml, domain, instance)
        else expect([child(domain, 'launchSecurity'), iommus(domain)]).toEqual([undefined, 0])
        seen[asked ? 'encrypted' : 'clear']++
      }),
      { numRuns: 3000, seed: 20_260_101 },
    )
    // The property says nothing if hardly anything is built.
    expect(seen.encrypted).toBeGreaterThan(50)
    expect(seen.clear).toBeGreaterThan(50)
  })
})

/** Told from the request's own words, not by the code under test. */
function asksForEncryption({ specs, properties }: Request): boolean {
  const words = { ...specs, ...properties } as Record<string, string | undefined>
  const isTrue = (word: string | undefined) => word !== undefined && /^\s*(true|1|yes|on|t|y)\s*$/i.test(word)
  return (
    isTrue(words['hw:mem_encryption']) ||
    isTrue(words.hw_mem_encryption) ||
    words['resources:MEM_ENCRYPTION_CONTEXT'] !== undefined
  )
}

function expectEncrypted(xml: string, domain: XmlElement, { mem_encryption }: Instance): void {
  expect(mem_encryption).not.toBeNull()
  if (mem_encryption === null) return
  expect(encryptionFlaw(xml, mem_encryption)).toBeUndefined()
  expect(attribute(child(domain, 'os', 'type'), 'machine')).toContain('q35')
  expect(attribute(child(domain, 'os'), 'firmware')).toBe('efi')
  expect(child(domain, 'features', 'vmcoreinfo')).toBeUndefined()
  expect(
    children(child(domain, 'devices'), 'disk').map((disk) => attribute(child(disk, 'target'), 'bus')),
  ).not.toContain('virtio')
  for (const device of virtioDevices(domain)) expect(attribute(child(device, 'driver'), 'iommu')).toBe('on')
}

/** Every device of which anything says virtio, however it says so. */
function virtioDevices(domain: XmlElement): readonly XmlElement[] {
  return everyDevice(domain).filter((device) => {
    const model = attribute(device, 'model') ?? attribute(child(device, 'model'), 'type') ?? ''
    const bus = attribute(child(device, 'target'), 'bus') ?? attribute(device, 'bus') ?? ''
    return model.startsWith('virtio') || bus === 'virtio' || (attribute(device, 'type') ?? '').startsWith('virtio')
  })
}

function everyDevice(domain: XmlElement): readonly XmlElement[] {
  const devices = child(domain, 'devices') as XmlElement
  return Object.values(devices).flatMap((found) => (typeof found === 'string' ? [] : found))
}

function iommus(domain: XmlElement): number {
  return everyDevice(domain).filter((device) => attribute(child(device, 'driver'), 'iommu') !== undefined).length
}

function unlessRefused<T>(make: () => T): T | undefined {
  try {
    return make()
  } catch (error) {
    if (error instanceof SevbusError) return undefined
    throw error
  }
}

function present(words: object): Record<string, string> {
  return Object.fromEntries(Object.entries(words).filter(([, value]) => value !== undefined))
}
