import { join } from 'node:path'
import { build } from 'esbuild'
import type { Role } from './life.ts'

/** Below the project, where what they import is found. */
const FOLDER = 'dist/soak'
const ROLES: readonly Role[] = ['sender', 'server', 'listener']

let built: Promise<unknown> | undefined

/** The program of a role, as plain JavaScript: a life is short, and by tsx its start would cost more than what it does. */
export async function programOf(role: Role): Promise<string> {
  built ??= build({
    entryPoints: ROLES.map((each) => join(import.meta.dirname, `${each}.ts`)),
    outdir: FOLDER,
    bundle: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    sourcemap: 'inline',
  })
  await built
  return join(FOLDER, `${role}.js`)
}
