import { z } from 'zod'
import { ConsoleAddress } from '../objects/console.ts'
import { call } from '../rpc/contract.ts'

const ofInstance = { instance_uuid: z.guid() }
const console = z.object({ console: ConsoleAddress })
const timeoutMs = 10_000

/** What guests say, and where they are seen: the part of the worker's door that is about consoles. */
export const consoleMethods = {
  getConsoleOutput: call({
    wire: 'get_console_output',
    since: '1.4',
    isRead: true,
    summary:
      'The end of what a guest has written to its serial port, 100 KiB of it at most; with `tail_length` so many lines. Errors: GUEST_NOT_FOUND.',
    input: z.strictObject({ ...ofInstance, tail_length: z.int().min(0).max(1_000_000).optional() }),
    output: z.object({ output: z.string() }),
    timeoutMs,
  }),
  getVncConsole: call({
    wire: 'get_vnc_console',
    since: '1.4',
    summary:
      "Where the guest's VNC display is reached, by its live document. Errors: GUEST_NOT_FOUND, CONSOLE_TYPE_UNAVAILABLE, CONSOLE_NOT_AVAILABLE.",
    input: z.strictObject(ofInstance),
    output: console,
    timeoutMs,
  }),
  getSpiceConsole: call({
    wire: 'get_spice_console',
    since: '1.4',
    summary:
      "Where the guest's SPICE display is reached, by its live document. Errors: GUEST_NOT_FOUND, CONSOLE_TYPE_UNAVAILABLE, CONSOLE_NOT_AVAILABLE.",
    input: z.strictObject(ofInstance),
    output: console,
    timeoutMs,
  }),
  getSerialConsole: call({
    wire: 'get_serial_console',
    since: '1.4',
    summary:
      "Where the guest's serial port is reached by TCP, by its live document, where compute.serial_console_port_range gives it one. Errors: GUEST_NOT_FOUND, CONSOLE_TYPE_UNAVAILABLE, CONSOLE_NOT_AVAILABLE.",
    input: z.strictObject(ofInstance),
    output: console,
    timeoutMs,
  }),
}
