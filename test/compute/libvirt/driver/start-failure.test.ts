import { describe, expect, it } from 'vitest'
import { firmwareStatus } from '../../../../src/compute/libvirt/driver/firmware-status.ts'
import { startFailure } from '../../../../src/compute/libvirt/driver/start-failure.ts'

const UUID = '3f3c1b9e-6a43-4b0c-9b62-0c8e6a4d8e11'
const INTERNAL_ERROR = 1
const CONFIG_UNSUPPORTED = 67
/** Texts as libvirt 9.0 and 11.3 hand on those of QEMU 7.2 and 10.0. */
const qemu = (text: string) =>
  `internal error: process exited while connecting to monitor: 2026-11-23T10:00:00.000000Z qemu-system-x86_64: ${text}`

describe('what QEMU and libvirt say when a guest does not start', () => {
  it.each([
    ['-accel kvm: sev_kvm_init: failed to initialize ret=-16 fw_error=0', 'ENCRYPTION_SLOTS_EXHAUSTED', undefined],
    [
      "-accel kvm: sev_common_kvm_init: failed to initialize ret=-16 fw_error=0 ''",
      'ENCRYPTION_SLOTS_EXHAUSTED',
      undefined,
    ],
    ["sev_launch_start: LAUNCH_START ret=1 fw_error=23 'Required firmware resource depleted'", 'SPAWN_FAILED', 23],
    ["sev_launch_update_data: LAUNCH_UPDATE ret=-5 fw_error=15 'DF_FLUSH is required'", 'SPAWN_FAILED', 15],
    [
      "sev_kvm_init: failed to get platform status ret=-1 fw_error='32539: unknown error'",
      'HOST_CAPABILITY_MISSING',
      undefined,
    ],
    ["sev_kvm_init: cbitpos check failed, host '0' requested '47'", 'HOST_CAPABILITY_MISSING', undefined],
    ['SEV information block/Firmware GUID Table block not found in pflash rom', 'HOST_CAPABILITY_MISSING', undefined],
    ['-accel kvm: vm-type SEV-SNP not supported by KVM', 'HOST_CAPABILITY_MISSING', undefined],
    [
      "sev_ram_block_added: failed to register region (0x7f00 size 0x1000) error 'Cannot allocate memory'",
      'SPAWN_FAILED',
      undefined,
    ],
    ['locking memory failed: Cannot allocate memory', 'SPAWN_FAILED', undefined],
    ['something that nobody has seen before', 'SPAWN_FAILED', undefined],
  ])('%s: %s', (text, code, fwError) => {
    const error = startFailure({ code: INTERNAL_ERROR, message: qemu(text) }, UUID)

    expect(error).toMatchObject({
      code,
      retryable: true,
      message: expect.stringContaining(text),
      details: { instance_uuid: UUID, libvirt_code: INTERNAL_ERROR },
    })
    expect(error.details.fw_error).toBe(fwError)
  })

  it.each([
    ['cannot limit locked memory of process 4711 to 1207959552: Operation not permitted', 38, 'SPAWN_FAILED'],
    ["operation failed: Unable to find any firmware to satisfy 'efi'", 9, 'HOST_CAPABILITY_MISSING'],
    ["Unable to find 'efi' firmware that is compatible with the current configuration", 9, 'HOST_CAPABILITY_MISSING'],
    [
      "unsupported configuration: 'sev' launch security is not supported with this QEMU binary",
      CONFIG_UNSUPPORTED,
      'HOST_CAPABILITY_MISSING',
    ],
    ["Path '/dev/sev' is not accessible: No such file or directory", 38, 'HOST_CAPABILITY_MISSING'],
    [
      "unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not support machine type 'pc-q35-99'",
      CONFIG_UNSUPPORTED,
      'HOST_CAPABILITY_MISSING',
    ],
    [
      'XML document failed to validate against schema: Element launchSecurity failed to validate content',
      92,
      'HOST_CAPABILITY_MISSING',
    ],
  ])('%s says what to do', (message, code, expected) => {
    const error = startFailure({ code, message }, UUID)

    expect(error.code).toBe(expected)
    expect(error.details.fix).toEqual(expect.any(String))
  })

  it('takes any other configuration that libvirt does not support for a lack of this host', () => {
    const error = startFailure({ code: CONFIG_UNSUPPORTED, message: 'unsupported configuration: nonsense' }, UUID)

    expect(error).toMatchObject({ code: 'HOST_CAPABILITY_MISSING', message: 'unsupported configuration: nonsense' })
  })

  it('keeps the beginning of a text that has no end, for it travels and is stored', () => {
    const error = startFailure({ code: INTERNAL_ERROR, message: 'x'.repeat(100_000) }, UUID)

    expect(error.message).toBe(`${'x'.repeat(1000)}…`)
  })

  it('says what AMD means by a status of its firmware', () => {
    const error = startFailure({ code: INTERNAL_ERROR, message: qemu('LAUNCH_FINISH ret=-5 fw_error=2') }, UUID)

    expect(error.message).toContain('the SEV firmware refused, INVALID_GUEST_STATE (2): the guest is in another state')
    expect(error.details.fix).toBe(firmwareStatus(2)?.fix)
  })
})

describe('the statuses of the firmware', () => {
  it('are told by number, and others are not made up', () => {
    expect(firmwareStatus(0x17)).toMatchObject({ name: 'RESOURCE_LIMIT' })
    expect([0, 0x1e, 0x28, -1, 1.5, Number.NaN].map(firmwareStatus)).toEqual(Array.from({ length: 6 }))
  })
})
