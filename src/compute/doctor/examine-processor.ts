import {
  type EncryptionLeaf,
  EXTENDED_LEAVES,
  encryptionLeaf,
  LEAF_NUMBER,
  REGISTERS_BYTES,
  registersOf,
} from './encryption-leaf.ts'
import { type HostFiles, parsed, type Reading, read, readValue } from './reading.ts'

/** As the kernel shows the first processor in `/proc/cpuinfo`. */
export interface Processor {
  readonly vendor: string
  readonly model: string
  readonly family: string
  readonly flags: ReadonlySet<string>
}

/** As CPUID names itself. */
export const AMD = 'AuthenticAMD'
const CPUINFO = 'proc/cpuinfo'
/** Of the module `cpuid`: a read at the number of a leaf gives its four registers. */
const CPUID = 'dev/cpu/0/cpuid'

export async function examineProcessor(files: HostFiles): Promise<Reading<Processor>> {
  return parsed(await files.text(CPUINFO), CPUINFO, parseProcessor)
}

function parseProcessor(text: string): Processor | undefined {
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(text)?.[1]
  const vendor = field('vendor_id')
  if (vendor === undefined) return undefined
  return {
    vendor,
    model: field('model name') ?? 'without a name',
    family: field('cpu family') ?? '?',
    flags: new Set(field('flags')?.split(' ') ?? []),
  }
}

/** Of another vendor than AMD it is known without a look, which only root may take. */
export async function examineEncryptionLeaf(files: HostFiles): Promise<Reading<EncryptionLeaf | undefined>> {
  const extended = await readRegisters(files, EXTENDED_LEAVES)
  if (extended.state !== 'read') {
    const vendor = readValue(await examineProcessor(files))?.vendor
    return vendor === undefined || vendor === AMD ? extended : read(undefined)
  }
  if (extended.value.eax < LEAF_NUMBER) return read(undefined)
  return parsed(await readRegisters(files, LEAF_NUMBER), CPUID, encryptionLeaf)
}

async function readRegisters(files: HostFiles, leaf: number) {
  const bytes = await files.bytes(CPUID, leaf, REGISTERS_BYTES)
  return parsed(bytes, CPUID, (found) => (found.length === REGISTERS_BYTES ? registersOf(found) : undefined))
}
