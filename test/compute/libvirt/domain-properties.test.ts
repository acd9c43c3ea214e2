import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS } from '../../../src/compute/libvirt/domain-options.ts'
import { domainXml } from '../../../src/compute/libvirt/domain-xml.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import { decideHostCapabilities, type HostCapabilities } from '../../../src/compute/libvirt/host-capabilities.ts'
import {
  attribute,
  child,
  children,
  parseXml,
  textOf,
  type XmlElement,
} from '../../../src/compute/libvirt/parse-xml.ts'
import { SevbusError } from '../../../src/errors.ts'
import type { Instance } from '../../../src/objects/instance.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel, policyHex } from '../../../src/objects/mem-encryption.ts'
import { domainOptions, hostFacts, hosts, type Request, requests } from '../support/arbitrary-launches.ts'
import { anInstance } from '../support/instances.ts'

/** The spec's own words: launch security's type, its policy, and whether the model pins the guest's memory. */
const ORDERED: Readonly<Record<MemEncryptionModel, readonly [string, string, boolean]>> = {
  'amd-sev': ['sev', '0x0033', true],
  'amd-sev-es': ['sev', '0x0037', true],
  'amd-sev-snp': ['sev-snp', '0x00030000', false],
}

describe('whatever is asked for, of whatever host', () => {
  it('an encrypted instance is never built without encryption, nor one in clear with it', () => {
    const seen: Record<string, number> = {}
    fc.assert(
      fc.property(requests, hosts, domainOptions, (request, host, options) => {
        const instance = requested(request)
        const xml = instance && unlessRefused(() => domainXml(buildDomain(guestSpec(instance, options), host)))
        const asked = modelsAskedFor(request)
        if (xml === undefined) return
        const outcome = asked.length > 1 ? 'one of several' : (asked[0] ?? 'clear')
        seen[outcome] = (seen[outcome] ?? 0) + 1
        const domain = parseXml(xml, 'domain', 'the domain')
        expectNoIdeOnQ35(domain)
        expectAsAsked(domain, asked, instance?.mem_encryption?.model, host, request)
      }),
      { numRuns: 4000, seed: 20_260_101 },
    )
    // The property says nothing if hardly anything is built.
    for (const outcome of ['amd-sev', 'amd-sev-es', 'amd-sev-snp', 'one of several', 'clear']) {
      expect(seen[outcome]).toBeGreaterThan(25)
    }
  })

  it('a host that offers a model builds each plain guest of it, and one that does not builds none', () => {
    const seen = { built: 0, refused: 0 }
    const models = fc.constantFrom<MemEncryptionModel>('amd-sev', 'amd-sev-es', 'amd-sev-snp')
    fc.assert(
      fc.property(hostFacts, models, (facts, model) => {
        const host = decideHostCapabilities(facts)
        const options = { ...DEFAULT_DOMAIN_OPTIONS, firmwareFiles: facts.firmwareFiles }
        const instance = anInstance({ model, properties: { hw_machine_type: facts.machineTypes.find(isOfQ35) } })
        const domain = unlessRefused(() => buildDomain(guestSpec(instance, options), host))

        expect(domain?.launchSecurity?.type).toBe(host.slots[model] && ORDERED[model][0])
        expect(host.slots[model] === undefined).toBe(host.missing[model] !== undefined)
        seen[domain === undefined ? 'refused' : 'built']++
      }),
      { numRuns: 2000, seed: 20_260_101 },
    )
    expect(Math.min(seen.built, seen.refused)).toBeGreaterThan(100)
  })
})

function isOfQ35(name: string): boolean {
  return name.includes('q35')
}

/** The instance of a request, or undefined where the conductor refuses it. */
function requested({ specs, properties, disks, lie }: Request): Instance | undefined {
  const honest = unlessRefused(() => anInstance({ flavor: { extra_specs: present(specs), ...disks }, properties }))
  if (honest === undefined || lie === undefined) return honest
  const told = lie && { model: lie, policy: policyHex(MEM_ENCRYPTION_MODELS[lie]), requested_by: 'flavor' as const }
  return { ...honest, mem_encryption: told }
}

/** Told from the request's own words, not by the code under test; none: nobody asks. */
function modelsAskedFor({ specs, properties }: Request): readonly string[] {
  const asks =
    isTrue(specs['hw:mem_encryption']) ||
    isTrue(properties.hw_mem_encryption) ||
    specs['resources:MEM_ENCRYPTION_CONTEXT'] !== undefined
  if (!asks) return []
  return (specs['hw:mem_encryption_model'] ?? properties.hw_mem_encryption_model ?? 'amd-sev').split(/, ?/)
}

function isTrue(word: string | undefined): boolean {
  return word !== undefined && /^\s*(true|1|yes|on|t|y)\s*$/i.test(word)
}

function expectAsAsked(
  domain: XmlElement,
  asked: readonly string[],
  built: MemEncryptionModel | undefined,
  host: HostCapabilities,
  request: Request,
): void {
  if (built === undefined) {
    expect(asked).toEqual([])
    expectClear(domain, request)
    return
  }
  expect(asked).toContain(built)
  expect(host.slots).toHaveProperty(built)
  expectEncrypted(domain, built, request)
}

function expectEncrypted(domain: XmlElement, model: MemEncryptionModel, { specs }: Request): void {
  const [type, policy, locks] = ORDERED[model]
  const security = child(domain, 'launchSecurity')
  expect([attribute(security, 'type'), textOf(child(security, 'policy'))]).toEqual([type, policy])
  expect(isLocked(domain)).toBe(locks || specs['hw:locked_memory'] === 'true')
  expect(attribute(child(domain, 'os', 'type'), 'machine')).toContain('q35')
  const loader = attribute(child(domain, 'os', 'loader'), 'type') ?? attribute(child(domain, 'os'), 'firmware')
  expect(loader).toMatch(/^(efi|pflash|rom)$/)
  expect(child(domain, 'features', 'vmcoreinfo')).toBeUndefined()
  expect(attribute(child(bootDisk(domain), 'target'), 'bus')).not.toBe('virtio')
  for (const device of everyDevice(domain)) {
    expect([device, attribute(child(device, 'driver'), 'iommu')]).toEqual([device, isVirtio(device) ? 'on' : undefined])
  }
}

function expectClear(domain: XmlElement, { specs }: Request): void {
  expect(child(domain, 'launchSecurity')).toBeUndefined()
  expect(isLocked(domain)).toBe(specs['hw:locked_memory'] === 'true')
  for (const device of everyDevice(domain)) expect(attribute(child(device, 'driver'), 'iommu')).toBeUndefined()
}

function expectNoIdeOnQ35(domain: XmlElement): void {
  if (!attribute(child(domain, 'os', 'type'), 'machine')?.includes('q35')) return
  const buses = children(child(domain, 'devices'), 'disk').map((disk) => attribute(child(disk, 'target'), 'bus'))
  expect(buses).not.toContain('ide')
}

function isLocked(domain: XmlElement): boolean {
  return child(domain, 'memoryBacking', 'locked') !== undefined
}

function bootDisk(domain: XmlElement): XmlElement | undefined {
  return children(child(domain, 'devices'), 'disk').find((disk) => child(disk, 'boot') !== undefined)
}

/** Anything of the device says virtio, however it says so. */
function isVirtio(device: XmlElement): boolean {
  const model = attribute(device, 'model') ?? attribute(child(device, 'model'), 'type') ?? ''
  const bus = attribute(child(device, 'target'), 'bus') ?? attribute(device, 'bus') ?? ''
  return model.startsWith('virtio') || bus === 'virtio' || (attribute(device, 'type') ?? '').startsWith('virtio')
}

function everyDevice(domain: XmlElement): readonly XmlElement[] {
  const devices = child(domain, 'devices') as XmlElement
  return Object.values(devices).flatMap((found) => (typeof found === 'string' ? [] : found))
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
