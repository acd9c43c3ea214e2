import { describe, expect, it } from 'vitest'
import type { ServerGroupPolicy } from '../../../src/objects/server-group.ts'
import { differentHost } from '../../../src/scheduler/filters/different-host.ts'
import type { HostFilter } from '../../../src/scheduler/filters/host-filter.ts'
import { imageProperties } from '../../../src/scheduler/filters/image-properties.ts'
import { sameHost } from '../../../src/scheduler/filters/same-host.ts'
import { serverGroupAffinity } from '../../../src/scheduler/filters/server-group-affinity.ts'
import { serverGroupAntiAffinity } from '../../../src/scheduler/filters/server-group-anti-affinity.ts'
import { traits } from '../../../src/scheduler/filters/traits.ts'
import type { HintedHosts } from '../../../src/scheduler/hinted-hosts.ts'
import { allocationsOn, type HostState } from '../../../src/scheduler/host-state.ts'
import type { SchedulingRequest } from '../../../src/scheduler/scheduling-request.ts'
import { aHost, aRequest } from '../builders.ts'

const A = 'aaaaaaaa-0000-4000-8000-00000000000a'
const B = 'aaaaaaaa-0000-4000-8000-00000000000b'

interface Hints {
  readonly same_host?: string[]
  readonly different_host?: string[]
}

/** A request with these hints, when the instances that it names are on these hosts. */
function hinting(hints: Hints, hostOf: Readonly<Record<string, string>> = {}): SchedulingRequest {
  const scheduler_hints = { group: null, same_host: [], different_host: [], ...hints }
  const hinted = { group: undefined, hostOf: new Map(Object.entries(hostOf)) }
  return { ...aRequest({ spec: { scheduler_hints } }), hinted }
}

/** A request of a member of a group that has so many on each host. */
function ofGroup(policy: ServerGroupPolicy, members: Readonly<Record<string, number>>, maxServerPerHost = 1) {
  const group = { uuid: A, name: 'db', policy, maxServerPerHost, members: new Map(Object.entries(members)) }
  return { ...aRequest(), hinted: { group, hostOf: new Map() } satisfies HintedHosts }
}

const namesOf = (filter: HostFilter, request: SchedulingRequest) => filter.concern?.(request)

describe('SameHostFilter', () => {
  it('passes every host when no instance is named', () => {
    expect(sameHost.reject(aHost('cn-1'), aRequest())).toBeUndefined()
    expect(namesOf(sameHost, aRequest())).toBeUndefined()
  })

  it('passes the hosts of the instances, and says where they are', () => {
    const request = hinting({ same_host: [A, B] }, { [A]: 'cn-1', [B]: 'cn-2' })

    expect(sameHost.reject(aHost('cn-1'), request)).toBeUndefined()
    expect(sameHost.reject(aHost('cn-2'), request)).toBeUndefined()
    expect(sameHost.reject(aHost('cn-3'), request)).toBe('the instances of same_host are on cn-1, cn-2')
  })

  it('rejects all hosts when the instances are on none', () => {
    expect(sameHost.reject(aHost('cn-1'), hinting({ same_host: [A] }))).toBe(
      `none of the instances of same_host is on a host: ${A}`,
    )
    const unresolved = aRequest({ spec: { scheduler_hints: { group: null, same_host: [A], different_host: [] } } })
    expect(sameHost.reject(aHost('cn-1'), unresolved)).toContain('none of the instances')
  })

  it('tells requests apart by where the instances are now', () => {
    const before = namesOf(sameHost, hinting({ same_host: [A] }, { [A]: 'cn-1' }))
    const after = namesOf(sameHost, hinting({ same_host: [A] }, { [A]: 'cn-2' }))

    expect(before).not.toBe(after)
  })
})

describe('DifferentHostFilter', () => {
  it('rejects the hosts of the instances, each with the instance that is there, and no other', () => {
    const request = hinting({ different_host: [A, B] }, { [A]: 'cn-1', [B]: 'cn-2' })

    expect(differentHost.reject(aHost('cn-1'), request)).toBe(`instance ${A} of different_host is here`)
    expect(differentHost.reject(aHost('cn-2'), request)).toBe(`instance ${B} of different_host is here`)
    expect(differentHost.reject(aHost('cn-3'), request)).toBeUndefined()
  })

  it('passes every host when nobody looked for the instances', () => {
    const scheduler_hints = { group: null, same_host: [], different_host: [A] }

    expect(differentHost.reject(aHost('cn-1'), aRequest({ spec: { scheduler_hints } }))).toBeUndefined()
    expect(namesOf(differentHost, aRequest({ spec: { scheduler_hints } }))).toBe(`[["${A}",null]]`)
  })

  it('passes every host when no instance is named, or those named are on none', () => {
    expect(differentHost.reject(aHost('cn-1'), aRequest())).toBeUndefined()
    expect(differentHost.reject(aHost('cn-1'), hinting({ different_host: [A] }))).toBeUndefined()
    expect(namesOf(differentHost, aRequest())).toBeUndefined()
    const moved = (to: string) => namesOf(differentHost, hinting({ different_host: [A] }, { [A]: to }))
    expect(moved('cn-1')).not.toBe(moved('cn-2'))
  })
})

describe('ServerGroupAntiAffinityFilter', () => {
  it('rejects hosts that have a member', () => {
    const request = ofGroup('anti-affinity', { 'cn-1': 1 })

    expect(serverGroupAntiAffinity.reject(aHost('cn-1'), request)).toBe(
      '1 of group db here, at most 1 on one host (anti-affinity)',
    )
    expect(serverGroupAntiAffinity.reject(aHost('cn-2'), request)).toBeUndefined()
  })

  it('allows as many as the rule of the group says', () => {
    const request = ofGroup('anti-affinity', { 'cn-1': 2, 'cn-2': 3 }, 3)

    expect(serverGroupAntiAffinity.reject(aHost('cn-1'), request)).toBeUndefined()
    expect(serverGroupAntiAffinity.reject(aHost('cn-2'), request)).toBe(
      '3 of group db here, at most 3 on one host (anti-affinity)',
    )
  })

  it('tells requests apart by where the group is now', () => {
    const at = (host: string) => namesOf(serverGroupAntiAffinity, ofGroup('anti-affinity', { [host]: 1 }))

    expect(at('cn-1')).toBe(`["${A}",1,[["cn-1",1]]]`)
    expect(at('cn-1')).not.toBe(at('cn-2'))
  })

  it.each(['affinity', 'soft-affinity', 'soft-anti-affinity'] as const)('has nothing to say of %s', (policy) => {
    expect(serverGroupAntiAffinity.reject(aHost('cn-1'), ofGroup(policy, { 'cn-1': 9 }))).toBeUndefined()
    expect(namesOf(serverGroupAntiAffinity, ofGroup(policy, { 'cn-1': 9 }))).toBeUndefined()
  })
})

describe('ServerGroupAffinityFilter', () => {
  it('passes any host for the first member, and then only where the group is', () => {
    expect(serverGroupAffinity.reject(aHost('cn-1'), ofGroup('affinity', {}))).toBeUndefined()
    expect(serverGroupAffinity.reject(aHost('cn-1'), ofGroup('affinity', { 'cn-1': 1 }))).toBeUndefined()
    expect(serverGroupAffinity.reject(aHost('cn-2'), ofGroup('affinity', { 'cn-1': 1 }))).toBe(
      'group db is on cn-1 (affinity)',
    )
  })

  it.each(['anti-affinity', 'soft-affinity', 'soft-anti-affinity'] as const)('has nothing to say of %s', (policy) => {
    expect(serverGroupAffinity.reject(aHost('cn-2'), ofGroup(policy, { 'cn-1': 1 }))).toBeUndefined()
    expect(serverGroupAffinity.reject(aHost('cn-2'), aRequest())).toBeUndefined()
  })

  it('tells requests apart by where the group is now', () => {
    const at = (host: string) => namesOf(serverGroupAffinity, ofGroup('affinity', { [host]: 1 }))

    expect(at('cn-1')).not.toBe(at('cn-2'))
    expect(namesOf(serverGroupAffinity, aRequest())).toBeUndefined()
  })
})

describe('ImagePropertiesFilter', () => {
  const intel = aHost('cn-1', { state: { architecture: 'x86_64' } })
  const why = (host: HostState, image: Readonly<Record<string, string>>) =>
    imageProperties.reject(host, aRequest({ image }))

  it.each([
    {},
    { hw_architecture: 'x86_64' },
    { hw_architecture: 'AMD64' },
    { hw_architecture: 'i686' },
    { architecture: 'i386' },
    { hw_architecture: 'i486' },
    { hw_architecture: 'i586' },
    { hw_architecture: 'x86' },
    { hw_architecture: 'x64' },
    { img_hv_type: '' },
    { hw_vm_mode: '' },
    { img_hv_type: 'qemu' },
    { img_hv_type: 'kvm' },
    { hypervisor_type: 'KVM' },
    { hw_vm_mode: 'hvm' },
    { vm_mode: 'hv' },
    { hw_architecture: '' },
  ])('passes images that QEMU on x86_64 runs: %j', (image) => {
    expect(why(intel, image as Readonly<Record<string, string>>)).toBeUndefined()
  })

  it.each([
    [{ hypervisor_type: 'xen' }, 'its hypervisor is QEMU, the image is made for xen (img_hv_type)'],
    [{ vm_mode: 'uml' }, 'runs fully virtual machines (hvm), the image is made for uml (hw_vm_mode)'],
    [{ hw_architecture: 'aarch64' }, 'its processor is x86_64, the image is made for aarch64 (hw_architecture)'],
    [{ architecture: 'arm64' }, 'its processor is x86_64, the image is made for arm64 (hw_architecture)'],
    [{ img_hv_type: 'xen' }, 'its hypervisor is QEMU, the image is made for xen (img_hv_type)'],
    [{ hw_vm_mode: 'xen' }, 'runs fully virtual machines (hvm), the image is made for xen (hw_vm_mode)'],
  ])('rejects images that it does not: %j', (image, reason) => {
    expect(why(intel, image as Readonly<Record<string, string>>)).toBe(reason)
  })

  it('does not reject for an architecture that the host does not tell', () => {
    expect(why(aHost('cn-1', { state: { architecture: undefined } }), { hw_architecture: 'aarch64' })).toBeUndefined()
  })

  it('takes the simulated host for what it simulates', () => {
    const simulated = aHost('cn-1', { state: { hypervisorType: 'fake' } })

    expect(why(simulated, { img_hv_type: 'kvm' })).toBeUndefined()
    expect(why(simulated, { img_hv_type: 'vmware' })).toBe(
      'its hypervisor is fake, the image is made for vmware (img_hv_type)',
    )
  })

  it('knows an architecture by each of its names', () => {
    const arm = aHost('cn-1', { state: { architecture: 'aarch64' } })

    for (const name of ['amd64', 'x64', 'i386', 'i486', 'i586', 'x86']) {
      expect(why(arm, { hw_architecture: name })).toBe(
        `its processor is aarch64, the image is made for ${name} (hw_architecture)`,
      )
    }
    for (const name of ['arm64', 'armv7l']) expect(why(arm, { hw_architecture: name })).toBeUndefined()
    const old = aHost('cn-1', { state: { architecture: 'i686' } })
    for (const name of ['i386', 'i486', 'i586', 'x86']) expect(why(old, { hw_architecture: name })).toBeUndefined()
  })

  it('reads no property that is null', () => {
    const image = {
      ...aRequest().spec.image,
      properties: { hw_architecture: null, img_hv_type: null, hw_vm_mode: null },
    }

    expect(imageProperties.reject(intel, aRequest({ spec: { image } }))).toBeUndefined()
  })

  it('knows that a processor of 32 bits runs no guest of 64', () => {
    expect(why(aHost('cn-1', { state: { architecture: 'i686' } }), { hw_architecture: 'x86_64' })).toBeDefined()
  })
})

describe('Traits', () => {
  const asking = (extra_specs: Readonly<Record<string, string>>, model?: 'amd-sev') => {
    const request = aRequest(model ? { model } : {})
    const flavor = { ...request.spec.flavor, extra_specs: { ...request.spec.flavor.extra_specs, ...extra_specs } }
    return aRequest({ ...(model && { model }), spec: { flavor } })
  }
  const withTraits = (root: readonly string[], pool: readonly string[] = []): HostState => {
    const host = aHost('cn-1', { slots: { 'amd-sev': 15 } })
    return {
      ...host,
      root: { ...host.root, traits: root },
      pools: host.pools.map((each) => ({ ...each, traits: [...each.traits, ...pool] })),
    }
  }

  it('passes every host when nobody asks', () => {
    expect(traits.reject(withTraits([]), aRequest())).toBeUndefined()
  })

  it('wants what is required of the host itself, and nothing that is forbidden', () => {
    const request = asking({ 'trait:CUSTOM_SSD': 'required', 'trait:CUSTOM_OLD': 'forbidden' })

    expect(traits.reject(withTraits(['CUSTOM_SSD']), request)).toBeUndefined()
    expect(traits.reject(withTraits(['CUSTOM_SSD', 'CUSTOM_OLD']), request)).toBe('has CUSTOM_OLD, which is forbidden')
    expect(traits.reject(withTraits(['CUSTOM_OLD']), request)).toBe(
      'lacks CUSTOM_SSD; has CUSTOM_OLD, which is forbidden',
    )
  })

  it('names all that is missing, and all that is forbidden', () => {
    const asked = asking({
      'trait:CUSTOM_A': 'required',
      'trait:CUSTOM_B': 'required',
      'trait:CUSTOM_C': 'forbidden',
      'trait:CUSTOM_D': 'forbidden',
    })
    const ofPool = asking({ 'trait:CUSTOM_C': 'forbidden' }, 'amd-sev')

    expect(traits.reject(withTraits(['CUSTOM_C', 'CUSTOM_D']), asked)).toBe(
      'lacks CUSTOM_A, CUSTOM_B; has CUSTOM_C, CUSTOM_D, which is forbidden',
    )
    expect(traits.reject(withTraits([], ['CUSTOM_C']), ofPool)).toBe(
      'with its pool cn-1_amd_sev has CUSTOM_C, which is forbidden',
    )
  })

  it('takes the traits of a pool only where the guest has a slot of it', () => {
    const asked = { 'trait:CUSTOM_TESTED': 'required' }

    expect(traits.reject(withTraits([], ['CUSTOM_TESTED']), asking(asked))).toBe('lacks CUSTOM_TESTED')
    expect(traits.reject(withTraits([], ['CUSTOM_TESTED']), asking(asked, 'amd-sev'))).toBeUndefined()
    expect(traits.reject(withTraits(['CUSTOM_TESTED']), asking(asked, 'amd-sev'))).toBeUndefined()
    expect(traits.reject(withTraits([]), asking(asked, 'amd-sev'))).toBe(
      'with its pool cn-1_amd_sev lacks CUSTOM_TESTED',
    )
  })

  it('leaves it to others to say that a host has no such pool', () => {
    expect(traits.reject(aHost('cn-1'), asking({ 'trait:CUSTOM_TESTED': 'required' }, 'amd-sev'))).toBe(
      'lacks CUSTOM_TESTED',
    )
  })

  it('decides also which of two pools of one model gives the slot', () => {
    const [host, request] = [withTraits([]), asking({ 'trait:CUSTOM_TESTED': 'required' }, 'amd-sev')]
    const [first] = host.pools
    const second = { ...(first as NonNullable<typeof first>), name: 'cn-1_tested' }
    const two = { ...host, pools: [...host.pools, { ...second, traits: [...second.traits, 'CUSTOM_TESTED'] }] }

    expect(traits.reject(two, request)).toBeUndefined()
    expect(allocationsOn(two, request.resources)?.at(-1)?.provider).toBe('cn-1_tested')
    expect(allocationsOn(host, request.resources)).toBeUndefined()
  })
})
