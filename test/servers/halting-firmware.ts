import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const SIZE = 256 * 1024
const VARIABLES_SIZE = 128 * 1024
/** What it says on the first serial port before it halts, so that a console log has something to hold. */
export const HALTING_FIRMWARE_SAYS = 'sevbus test firmware: halted\r\n'

/**
 * Real firmware files for guests that need not do anything: a flash image whose processor halts, with the table that
 * QEMU looks for in flash of SEV-ES guests, and a variable store that is empty. A guest with it costs no processor time,
 * and runs where OVMF does not (software KVM, as in some virtual machines, cannot run all of OVMF's instructions).
 */
export interface HaltingFirmware {
  readonly loader: string
  readonly nvramTemplate: string
  /** A folder of firmware descriptors with this one alone, as `/usr/share/qemu/firmware`. */
  readonly descriptors: string
}

export async function writeHaltingFirmware(folder: string): Promise<HaltingFirmware> {
  const descriptors = join(folder, 'descriptors')
  const loader = join(folder, 'halting.fd')
  const nvramTemplate = join(folder, 'halting-vars.fd')
  await mkdir(descriptors, { recursive: true })
  await writeFile(loader, flashImage())
  await writeFile(nvramTemplate, Buffer.alloc(VARIABLES_SIZE, 0xff)) // as flash is when nothing was written to it
  await writeFile(join(descriptors, '10-halting.json'), JSON.stringify(descriptor(loader, nvramTemplate), null, 2))
  // QEMU runs as another user, and reads them.
  for (const file of [loader, nvramTemplate]) await chmod(file, 0o644)
  return { loader, nvramTemplate, descriptors }
}

function descriptor(filename: string, template: string) {
  return {
    description: 'halts: for tests',
    'interface-types': ['uefi'],
    mapping: {
      device: 'flash',
      mode: 'split',
      executable: { filename, format: 'raw' },
      'nvram-template': { filename: template, format: 'raw' },
    },
    targets: [{ architecture: 'x86_64', machines: ['pc-q35-*', 'pc-i440fx-*'] }],
    features: ['amd-sev', 'amd-sev-es', 'verbose-dynamic'],
    tags: [],
  }
}

/** The image ends at 4 GiB, where x86 processors start, 16 bytes below: in the segment of its last 64 KiB. */
function flashImage(): Buffer {
  const image = Buffer.alloc(SIZE, 0xff)
  const code = haltingCode()
  const codeAt = SIZE - 0x1000
  code.copy(image, codeAt)
  const reset = SIZE - 16
  const jump = codeAt - (reset + 3)
  image.writeUInt8(0xe9, reset) // jmp rel16
  image.writeInt16LE(jump, reset + 1)
  const table = guidTable()
  table.copy(image, SIZE - 32 - table.length)
  return image
}

/** 16-bit code: mov dx, 0x3f8; (mov al, character; out dx, al) for each; cli; hlt; jmp to the hlt. */
function haltingCode(): Buffer {
  const prints = [...Buffer.from(HALTING_FIRMWARE_SAYS)].flatMap((character) => [0xb0, character, 0xee])
  return Buffer.from([0xba, 0xf8, 0x03, ...prints, 0xfa, 0xf4, 0xeb, 0xfd])
}

/**
 * OVMF's table of what hypervisors must find in it, at 32 bytes below the end; read backwards: each entry is its data,
 * the length of all of it, and its GUID; the footer's length is that of the table.
 * Source: edk2, OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm; QEMU, hw/i386/pc_sysfw_ovmf.c and target/i386/sev.c.
 */
function guidTable(): Buffer {
  const entries = Buffer.concat([
    // The launch secret, and the hashes of a kernel: base and size, in the guest's memory, where OVMF has them.
    entry('7255371f-3a3b-4b04-927b-1da6efa8d454', uint32s(0x80_d000, 0x400)),
    entry('4c2eb361-7d9b-4cc3-8081-127c90d3d294', uint32s(0x80_c000, 0xc00)),
    // Where the other processors of an SEV-ES guest start.
    entry('00f771de-1a7e-4fcb-890e-68c77e2fb44e', uint32s(0xffff_fff0)),
  ])
  const footer = entry('96b582de-1fb2-45f7-baea-a366c55a082d', Buffer.alloc(0))
  footer.writeUInt16LE(entries.length + footer.length, 0)
  return Buffer.concat([entries, footer])
}

function entry(guid: string, data: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16LE(data.length + 2 + 16)
  return Buffer.concat([data, length, guidBytes(guid)])
}

/** The first three parts little-endian, as UEFI has them. */
function guidBytes(guid: string): Buffer {
  const [first = '', second = '', third = '', ...rest] = guid.split('-')
  const reversed = [first, second, third].map((part) => Buffer.from(part, 'hex').reverse())
  return Buffer.concat([...reversed, Buffer.from(rest.join(''), 'hex')])
}

function uint32s(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, 4 * index)
  return bytes
}
