import { z } from 'zod'
import { ConsoleAddress } from '../objects/console.ts'
import { call } from '../rpc/contract.ts'

const ofInstance = { instance_uuid: z.guid() }
const console = z.object({ console: ConsoleAddress })
const timeoutMs = 15_000

/** What guests say, and where they are seen: their hosts are asked. */
export const consoleMethods = {
  getConsoleOutput: call({
    wire: 'get_console_output',
    since: '1.7',
    isRead: true,
    summary:
      'The end of what the guest of an instance has written to its serial port, 100 KiB of it at most; with `tail_length` so many lines. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE on no host, GUEST_NOT_FOUND.',
    input: z.strictObject({ ...ofInstance, tail_length: z.int().min(0).max(1_000_000).optional() }),
    output: z.object({ output: z.string() }),
    timeoutMs,
  }),
  getVncConsole: call({
    wire: 'get_vnc_console',
    since: '1.7',
    summary:
      'Where the VNC display of an instance is reached, for a proxy. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE on no host, GUEST_NOT_FOUND, CONSOLE_TYPE_UNAVAILABLE where its host gives none (compute.graphics), CONSOLE_NOT_AVAILABLE of a guest that is off.',
    input: z.strictObject(ofInstance),
    output: console,
    timeoutMs,
  }),
  getSpiceConsole: call({
    wire: 'get_spice_console',
    since: '1.7',
    summary: 'The same for SPICE.',
    input: z.strictObject(ofInstance),
    output: console,
    timeoutMs,
  }),
  getSerialConsole: call({
    wire: 'get_serial_console',
    since: '1.7',
    summary: 'The same for its serial port by TCP, where compute.serial_console_port_range of its host gives one.',
    input: z.strictObject(ofInstance),
    output: console,
    timeoutMs,
  }),
}
