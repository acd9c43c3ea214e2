import { stripVTControlCharacters } from 'node:util'
import { vi } from 'vitest'
import { runProgram } from '../../src/cli/program.ts'

/**
 * One command as `runSevbus` runs it, but in this process: for what needs no life of its own, to load the program takes longer
 * than to run it. One at a time.
 */
export async function runHere(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ readonly code: number; readonly out: string }> {
  const before = process.env
  let out = ''
  const collect = (chunk: string | Uint8Array, ...rest: readonly unknown[]) => {
    out += chunk.toString()
    const written = rest.at(-1)
    // Who writes much waits until it is written.
    if (typeof written === 'function') process.nextTick(written as () => void)
    return true
  }
  const spies = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, 'write').mockImplementation(collect))
  process.env = { PATH: before.PATH, ...env }
  try {
    const code = await runProgram([process.execPath, 'sevbus', ...args])
    // Whether this process may use colours was decided when it began: it may where CI is set.
    return { code, out: stripVTControlCharacters(out) }
  } finally {
    process.env = before
    for (const spy of spies) spy.mockRestore()
  }
}
