import { InvalidArguments } from '../errors.ts'
import { type ConsoleProtocol, MAX_CONSOLE_BYTES } from '../objects/console.ts'
import { cleanText } from '../objects/text.ts'
import { EXIT } from './exit-codes.ts'
import { findInstance } from './find-instance.ts'
import { print, printJson } from './output.ts'
import { type GlobalOptions, withSession } from './session.ts'
import { facts } from './table.ts'

export interface LogOptions extends GlobalOptions {
  readonly lines?: string
}

/** A guest writes what it likes: what would rule the terminal is replaced. */
export function consoleLog(word: string, options: LogOptions): Promise<number> {
  const tail_length = options.lines === undefined ? undefined : linesOf(options.lines)
  return withSession(options, async (session) => {
    const { uuid: instance_uuid } = await findInstance(session, word)
    const args = { instance_uuid, ...(tail_length !== undefined && { tail_length }) }
    const { output } = await session.conductor.getConsoleOutput(session.context, args)
    if (options.json) printJson({ instance_uuid, output })
    else print(cleanText(output.replaceAll('\r\n', '\n'), MAX_CONSOLE_BYTES).trimEnd())
    return EXIT.OK
  })
}

function linesOf(text: string): number {
  const lines = Number(text)
  if (Number.isInteger(lines) && lines >= 0) return lines
  const fix = 'write e.g. --lines 100'
  throw new InvalidArguments(`--lines is ${JSON.stringify(text)}; ${fix}`, { field: '--lines', value: text, fix })
}

export interface ConsoleOptions extends GlobalOptions {
  readonly type: ConsoleProtocol
}

export function consoleAddress(word: string, options: ConsoleOptions): Promise<number> {
  return withSession(options, async (session) => {
    const { uuid: instance_uuid } = await findInstance(session, word)
    const { conductor, context } = session
    const ask = { vnc: conductor.getVncConsole, spice: conductor.getSpiceConsole, serial: conductor.getSerialConsole }
    const { console } = await ask[options.type](context, { instance_uuid })
    if (options.json) printJson({ instance_uuid, type: options.type, ...console })
    else {
      const ports = [['port', String(console.port ?? '-')] as const]
      if (console.tls_port !== null) ports.push(['port', `${console.tls_port} (TLS)`])
      print(facts([['type', options.type], ['host', console.host], ...ports]))
    }
    return EXIT.OK
  })
}
