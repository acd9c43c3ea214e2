import { spawn } from 'node:child_process'
import { json } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SevbusError } from '../../src/errors.ts'
import { memoryPageSize } from '../../src/objects/memory-page-size.ts'
import { spelledBoolean } from '../../src/objects/spelled-value.ts'
import { DISTRIBUTION_PYTHON, PYTHON_FLAGS } from '../servers/oslo-peers.ts'
import { aFlavor, anImage } from '../support/requests.ts'
import { canRunPeers } from './python-peer.ts'

interface ReadByOslo {
  readonly words: readonly (boolean | null)[]
  readonly sizes: readonly (number | null)[]
}

const blank = fc.constantFrom('', '', ' ', '  ')
const known = fc.mixedCase(
  fc.constantFrom('1', 't', 'true', 'on', 'y', 'yes', '0', 'f', 'false', 'off', 'n', 'no', 'tru', 'yess', 'o', '01'),
)
const word = fc.oneof(
  fc.tuple(blank, known, blank).map((parts) => parts.join('')),
  fc.string({ unit: 'grapheme-ascii', maxLength: 6 }),
)
const size = fc.oneof(
  fc.constantFrom(
    '2048',
    '1048576',
    '2MB',
    '1GB',
    '2MiB',
    '1GiB',
    '4KB',
    '4096B',
    '2097152B',
    '1024MB',
    '32Kbit',
    '16Mbit',
    '16Mib',
    '2M',
    '2 MB',
    'huge',
    '2iB',
  ),
  fc
    .tuple(
      fc.constantFrom('1', '2', '4', '64', '0.5', '.25', '1.', '1024', '007'),
      fc.constantFrom('', 'K', 'M', 'G', 'T', 'k', 'm', 'Ki', 'Mi', 'Gi', 'E'),
      fc.constantFrom('', 'B', 'b', 'bit', 'byte'),
    )
    .map((parts) => parts.join('')),
)

describe.runIf(canRunPeers())('what oslo.utils reads for Nova', () => {
  it('is read alike here: truth values, and page sizes that x86 has', async () => {
    const words = fc.sample(word, 1000)
    const sizes = fc.sample(size, 500)

    const theirs = await readByOslo({ words, sizes })

    expect(words.map((one) => [one, readWord(one)])).toEqual(words.map((one, index) => [one, theirs.words[index]]))
    expect(sizes.map((one) => [one, readSize(one)])).toEqual(
      sizes.map((one, index) => [one, ofX86(theirs.sizes[index] ?? null)]),
    )
  })
})

async function readByOslo(asked: { words: readonly string[]; sizes: readonly string[] }): Promise<ReadByOslo> {
  const program = fileURLToPath(new URL('peers/spelled_values.py', import.meta.url))
  const python = spawn(DISTRIBUTION_PYTHON, [...PYTHON_FLAGS, program], { stdio: ['pipe', 'pipe', 'inherit'] })
  python.stdin.end(JSON.stringify(asked))
  return (await json(python.stdout)) as ReadByOslo
}

function readWord(text: string): boolean | null | undefined {
  return orNull(() => spelledBoolean('flavor m1', 'hw:mem_encryption', text))
}

function readSize(text: string): unknown {
  return orNull(() => {
    const read = memoryPageSize(aFlavor({ 'hw:mem_page_size': text }), anImage({}))
    return typeof read === 'object' ? read.kib : read
  })
}

function orNull<T>(read: () => T): T | null {
  try {
    return read()
  } catch (error) {
    if (error instanceof SevbusError) return null
    throw error
  }
}

/** Nova takes any number for a page size, and finds no such page on any host; here they are refused at once. */
function ofX86(kib: number | null): number | null {
  return kib !== null && [4, 2048, 1_048_576].includes(kib) ? kib : null
}
