import { describe, expect, it } from 'vitest'
import { modelOf } from '../../../src/compute/libvirt/model-of.ts'

describe('the model of a domain document', () => {
  it.each([
    ['<launchSecurity type="sev"><policy>0x0033</policy></launchSecurity>', 'amd-sev'],
    ['<launchSecurity type="sev"><policy>33</policy></launchSecurity>', 'amd-sev'],
    ['<launchSecurity type="sev"><policy>0x0037</policy></launchSecurity>', 'amd-sev-es'],
    ['<launchSecurity type="sev"><policy>4</policy></launchSecurity>', 'amd-sev-es'],
    ['<launchSecurity type="sev"/>', 'amd-sev'],
    ['<launchSecurity type="sev-snp"><policy>0x00030000</policy></launchSecurity>', 'amd-sev-snp'],
    ['<launchSecurity type="s390-pv"/>', undefined],
    ['', undefined],
  ])('%s is %s', (security, model) => {
    expect(modelOf(`<domain><name>x</name>${security}</domain>`)).toBe(model)
  })

  it('is refused of what is no domain', () => {
    expect(() => modelOf('<network/>')).toThrow(
      expect.objectContaining({ code: 'INVALID_DOMAIN_XML', message: expect.stringContaining('the domain') }),
    )
  })
})
