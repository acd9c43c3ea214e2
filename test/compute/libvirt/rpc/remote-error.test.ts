import { describe, expect, it } from 'vitest'
import { isLibvirtError, libvirtError, VIR_ERR } from '../../../../src/compute/libvirt/rpc/remote-error.ts'

const REFUSED = { code: 42, domain: 10, level: 2, message: "Domain not found: no domain with matching name 'one'" }

describe("libvirt's refusal", () => {
  it('has its text and its numbers', () => {
    expect(libvirtError('domainGetState', REFUSED)).toMatchObject({
      code: 'LIBVIRT_ERROR',
      message: REFUSED.message,
      details: { call: 'domainGetState', libvirt_code: 42, libvirt_domain: 10, libvirt_level: 2 },
    })
  })

  it('without a text says at least what it is', () => {
    expect(libvirtError('domainGetState', { ...REFUSED, message: undefined }).message).toBe(
      'domainGetState: libvirt says error 42 of domain 10, and no more',
    )
  })

  it('is told apart by its number', () => {
    const error = libvirtError('domainGetState', REFUSED)

    expect(isLibvirtError(error, VIR_ERR.noDomain)).toBe(true)
    expect(isLibvirtError(error, VIR_ERR.internalError)).toBe(false)
    expect(isLibvirtError(new Error(REFUSED.message), VIR_ERR.noDomain)).toBe(false)
  })
})
