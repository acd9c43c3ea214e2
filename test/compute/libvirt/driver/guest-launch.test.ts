import { describe, expect, it } from 'vitest'
import type { GuestDisks } from '../../../../src/compute/disks/guest-disks.ts'
import type { HostOptions } from '../../../../src/compute/libvirt/driver/host-facts.ts'
import { LibvirtVirtDriver } from '../../../../src/compute/libvirt/driver/libvirt-virt-driver.ts'
import type { Libvirt } from '../../../../src/compute/libvirt/rpc/libvirt.ts'
import type { TypedValue } from '../../../../src/compute/libvirt/rpc/typed-param.ts'
import { HypervisorTimeout, HypervisorUnavailable, LibvirtError } from '../../../../src/errors.ts'

const never = new AbortController().signal
const UUID = '11111111-2222-4333-8444-555555555555'

/** What the driver makes of libvirt's answer. */
function launchWhen(domainGetLaunchSecurityInfo: () => Promise<Readonly<Record<string, TypedValue>>>) {
  const libvirt = { uri: 'qemu:///system', domainGetLaunchSecurityInfo } as unknown as Libvirt
  return new LibvirtVirtDriver(libvirt, {} as GuestDisks, {} as HostOptions).launch(UUID, never)
}

describe('how libvirt says that a guest was launched', () => {
  it.each([
    ['SEV', { 'sev-measurement': 'wr9E', 'sev-api-major': 0, 'sev-policy': 51 }, { isEncrypted: true, policy: 0x33 }],
    ['SEV-SNP, whose policy is a long one', { 'sev-snp-policy': 0x30000n }, { isEncrypted: true, policy: 0x3_0000 }],
    ['SEV, before libvirt 8.0', { 'sev-measurement': 'wr9E' }, { isEncrypted: true, policy: undefined }],
    ['in clear', {}, { isEncrypted: false, why: 'libvirt tells nothing of its launch' }],
  ])('%s', async (_, info, launch) => {
    expect(await launchWhen(async () => info)).toEqual(launch)
  })
})

describe('a refusal to say how a guest was launched', () => {
  it.each([
    [
      1,
      "internal error: unable to execute QEMU command 'query-sev-launch-measure': SEV launch measurement is not available",
    ],
    [1, "internal error: unable to execute QEMU command 'query-sev': The command query-sev has not been found"],
    [1, 'internal error: query-sev reply was missing some data'],
    [3, 'this function is not supported by the connection driver: virDomainGetLaunchSecurityInfo'],
    [42, `Domain not found: no domain with matching uuid '${UUID}'`],
    [55, 'Requested operation is not valid: domain is not running'],
    [84, 'Operation not supported: QEMU does not support SEV guest'],
  ])('is no proof where it tells how it is, %i: %s', async (libvirt_code, why) => {
    const launch = await launchWhen(async () => {
      throw new LibvirtError(why, { libvirt_code })
    })

    expect(launch).toEqual({ isEncrypted: false, why })
  })

  it.each([
    [new LibvirtError('internal error: End of file from qemu monitor', { libvirt_code: 1 })],
    [new LibvirtError('internal error: qemu unexpectedly closed the monitor', { libvirt_code: 1 })],
    [new LibvirtError('internal error: client socket is closed', { libvirt_code: 1 })],
    [
      new LibvirtError(
        "internal error: unable to execute QEMU command 'query-sev-launch-measure': JSON parse error, expecting value",
        { libvirt_code: 1 },
      ),
    ],
    [new LibvirtError('out of memory', { libvirt_code: 2 })],
    [new LibvirtError('invalid connection pointer in virDomainGetLaunchSecurityInfo', { libvirt_code: 6 })],
    [new LibvirtError('operation failed: domain is no longer running', { libvirt_code: 9 })],
    [new LibvirtError('Unable to write to monitor: Broken pipe', { libvirt_code: 38 })],
    [new LibvirtError('Cannot write data: Broken pipe', { libvirt_code: 39 })],
    [new LibvirtError('Requested operation is not valid: cannot acquire job', { libvirt_code: 55 })],
    [new LibvirtError('Timed out during operation: cannot acquire state change lock', { libvirt_code: 68 })],
    [new LibvirtError('access denied', { libvirt_code: 88 })],
    [new HypervisorTimeout('domainGetLaunchSecurityInfo: no answer from libvirt within 30000 ms')],
    [new HypervisorUnavailable('the connection to libvirt is lost: the daemon hung up')],
  ])('says nothing of the guest where it is about whoever was asked: %s', async (error) => {
    const launch = launchWhen(async () => {
      throw error
    })

    await expect(launch).rejects.toBe(error)
  })
})
