#!/usr/bin/env node
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = new URL('../', import.meta.url)
const main = new URL('dist/bundle/main.js', folder)

// A fresh clone has only sources; a published package has only dist.
if (!existsSync(main) && existsSync(new URL('src/main.ts', folder))) {
  process.stderr.write('building sevbus once …\n')
  spawnSync('npm', ['run', '--silent', 'build'], { cwd: fileURLToPath(folder), stdio: ['ignore', 2, 2] })
}
if (existsSync(main)) {
  await import(main.href)
} else {
  process.stderr.write('sevbus could not be built; run: npm ci && npm run build\n')
  process.exitCode = 2
}
