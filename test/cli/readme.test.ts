import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'

/** What README says that a clone can do without a broker: each line, and the exit code that its remark promises. */
const LINE = /^npx (sevbus (?:--config \S+ )?(?:lint|xml|host-capabilities)\b.*)$/gm
const examples = [...readFileSync('README.md', 'utf8').matchAll(LINE)].map(([, line = '']) => ({
  line,
  code: Number(/# exit code (\d)/.exec(line)?.[1] ?? 0),
}))

/** A clone that nobody has configured, and beside which no `sevbus dev` runs. */
function cleanClone(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-clone-'))
  for (const part of ['compose.toml', 'examples']) symlinkSync(resolve(part), join(folder, part))
  return folder
}

describe('what README shows of flavors, images and hosts on paper', () => {
  it('is a line for each command', () => {
    expect(examples.map(({ line }) => /lint|xml|host-capabilities/.exec(line)?.[0])).toEqual([
      'lint',
      'lint',
      'xml',
      'host-capabilities',
    ])
  })

  it.each(examples)('runs as written, in a clean clone: $line', async ({ line, code }) => {
    const command = line.replace(/^sevbus/, `'${process.execPath}' '${resolve('bin/sevbus.js')}'`)
    const shell = spawn('sh', ['-c', command], { cwd: cleanClone(), env: { PATH: process.env.PATH } })
    const [out, errors, [exit]] = await Promise.all([text(shell.stdout), text(shell.stderr), once(shell, 'close')])

    expect([exit, errors]).toEqual([code, ''])
    expect(out).not.toBe('')
  })
})
