import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const SCRIPT = join(import.meta.dirname, '../../sev-emulator/halting-firmware.sh')
/** What it says on the first serial port before it halts. */
export const HALTING_FIRMWARE_SAYS = 'sevbus test firmware: halted\r\n'

/**
 * Real firmware files for guests that need not do anything: their processor halts. A guest with it costs no processor
 * time, and runs where OVMF does not.
 */
export interface HaltingFirmware {
  readonly loader: string
  readonly nvramTemplate: string
  /** A folder of firmware descriptors with this one alone, as `/usr/share/qemu/firmware`. */
  readonly descriptors: string
}

export async function writeHaltingFirmware(folder: string): Promise<HaltingFirmware> {
  await promisify(execFile)('sh', [SCRIPT, folder])
  return {
    loader: join(folder, 'halting.fd'),
    nvramTemplate: join(folder, 'halting-vars.fd'),
    descriptors: join(folder, 'descriptors'),
  }
}
