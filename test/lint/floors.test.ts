import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const BIOME = join(ROOT, 'node_modules/@biomejs/biome/bin/biome')

interface Finding {
  readonly rule: string
  readonly path: string
  readonly message: string
}

/** A line that breaks a rule, where it stands, and the rule that must see it. */
interface Breach {
  readonly path: string
  readonly line: string
  readonly rule: string
}

const IMPORTS = 'style/noRestrictedImports'
const GLOBALS = 'style/noRestrictedGlobals'

const breaches: readonly Breach[] = [
  // Floor 0 stands on nothing, and is pure.
  { path: 'src/objects/a.ts', line: "import '../rpc/target.ts'", rule: IMPORTS },
  { path: 'src/objects/b.ts', line: "import type { A } from '../rpc/target.ts'", rule: IMPORTS },
  { path: 'src/objects/c.ts', line: "export * from '../database/database.ts'", rule: IMPORTS },
  { path: 'src/objects/d.ts', line: "import 'node:crypto'", rule: IMPORTS },
  { path: 'src/objects/e.ts', line: 'export const now = Date.now()', rule: GLOBALS },
  { path: 'src/objects/f.ts', line: 'export const dice = Math.random()', rule: 'nursery/noJsRestrictedProperties' },
  // Floor 1 knows no virtual machine; each library has one place.
  { path: 'src/rpc/a.ts', line: "import '../objects/flavor.ts'", rule: IMPORTS },
  { path: 'src/rpc/b.ts', line: "import '../database/database.ts'", rule: IMPORTS },
  { path: 'src/rpc/c.ts', line: "import 'amqplib'", rule: IMPORTS },
  { path: 'src/rpc/d.ts', line: "export const lazy = () => import('../objects/flavor.ts')", rule: IMPORTS },
  { path: 'src/rpc/drivers/memory.ts', line: "import 'amqplib'", rule: IMPORTS },
  { path: 'src/rpc/drivers/rabbit.ts', line: "import '../../objects/flavor.ts'", rule: IMPORTS },
  { path: 'src/database/a.ts', line: "import '../rpc/transport.ts'", rule: IMPORTS },
  { path: 'src/database/b.ts', line: "import '../objects/flavor.ts'", rule: IMPORTS },
  { path: 'src/database/c.ts', line: "import 'pg'", rule: IMPORTS },
  { path: 'src/database/d.ts', line: "import '@electric-sql/pglite'", rule: IMPORTS },
  { path: 'src/database/postgres.ts', line: "import '@electric-sql/pglite'", rule: IMPORTS },
  // Floor 2.
  { path: 'src/notifications/a.ts', line: "import '../compute/rpc-api.ts'", rule: IMPORTS },
  { path: 'src/notifications/b.ts', line: "import '../rpc/drivers/memory.ts'", rule: IMPORTS },
  // Floor 3: peers meet on the bus.
  { path: 'src/billing/a.ts', line: "import '../conductor/rpc-api.ts'", rule: IMPORTS },
  { path: 'src/billing/b.ts', line: "import '../rpc/transport.ts'", rule: IMPORTS },
  { path: 'src/conductor/a.ts', line: "import '../scheduler/manager.ts'", rule: IMPORTS },
  { path: 'src/conductor/b.ts', line: "import '../config.ts'", rule: IMPORTS },
  { path: 'src/scheduler/a.ts', line: "import '../compute/virt-driver.ts'", rule: IMPORTS },
  { path: 'src/scheduler/placement/a.ts', line: "import '../../conductor/manager.ts'", rule: IMPORTS },
  { path: 'src/compute/a.ts', line: "import '../database/database.ts'", rule: IMPORTS },
  { path: 'src/compute/b.ts', line: "import 'xmlbuilder2'", rule: IMPORTS },
  { path: 'src/compute/libvirt/a.ts', line: "import '../../scheduler/manager.ts'", rule: IMPORTS },
  { path: 'src/compute/libvirt/deep/a.ts', line: "import '../../../database/database.ts'", rule: IMPORTS },
  { path: 'src/compute/libvirt/rpc/a.ts', line: "import '../../../rpc/drivers/memory.ts'", rule: IMPORTS },
  { path: 'src/compute/rpc-api.ts', line: "import './manager.ts'", rule: IMPORTS },
  { path: 'src/conductor/rpc-api.ts', line: "import '../scheduler/rpc-api.ts'", rule: IMPORTS },
  { path: 'src/compute/action-methods.ts', line: "import './manager.ts'", rule: IMPORTS },
  { path: 'src/conductor/console-methods.ts', line: "import './manager.ts'", rule: IMPORTS },
  { path: 'src/conductor/move-methods.ts', line: "import './manager.ts'", rule: IMPORTS },
  // Rooms that decide from values alone.
  { path: 'src/scheduler/filters/a.ts', line: "import 'node:fs'", rule: IMPORTS },
  { path: 'src/scheduler/filters/b.ts', line: 'export const zone = process.title', rule: GLOBALS },
  { path: 'src/scheduler/weighers/a.ts', line: "import '../../rpc/client.ts'", rule: IMPORTS },
  { path: 'src/scheduler/weighers/b.ts', line: 'setTimeout(() => undefined, 1)', rule: GLOBALS },
  { path: 'src/compute/libvirt/configurators/a.ts', line: "import 'xmlbuilder2'", rule: IMPORTS },
  {
    path: 'src/compute/libvirt/configurators/b.ts',
    line: 'export const year = new Date().getFullYear()',
    rule: GLOBALS,
  },
  { path: 'src/compute/doctor/check-a.ts', line: "import 'node:fs/promises'", rule: IMPORTS },
  { path: 'src/compute/doctor/check-b.ts', line: 'export const limit = process.title', rule: GLOBALS },
  // Composition is nobody's to import, and knows no library but through its place.
  { path: 'src/client.ts', line: "import './config.ts'", rule: IMPORTS },
  { path: 'src/contracts.ts', line: "import './compose/open-transport.ts'", rule: IMPORTS },
  { path: 'src/servers/a.ts', line: "import '../config.ts'", rule: IMPORTS },
  { path: 'src/cli/a.ts', line: "import 'pg'", rule: IMPORTS },
  { path: 'src/compose/a.ts', line: "import 'amqplib'", rule: IMPORTS },
  // The rules of the house that have no floor.
  { path: 'src/rpc/e.ts', line: 'export const home = process.env.HOME', rule: 'style/noProcessEnv' },
  { path: 'src/rpc/f.ts', line: "console.log('here')", rule: 'suspicious/noConsole' },
  { path: 'src/rpc/g.ts', line: 'export const anything = (x: any) => x', rule: 'suspicious/noExplicitAny' },
  { path: 'src/rpc/h.ts', line: "export { j } from './i.ts'", rule: 'suspicious/noImportCycles' },
  { path: 'src/rpc/k.ts', line: 'const go = async () => 1; go()', rule: 'nursery/noFloatingPromises' },
  { path: 'src/rpc/l.ts', line: 'const go = async () => true; if (go()) go.length', rule: 'nursery/noMisusedPromises' },
]

/** What the same rules let through: an allow-list that allows nothing would pass every breach above. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  'src/objects/fine.ts': ['./flavor.ts', '../errors.ts', 'zod'],
  'src/rpc/fine.ts': ['./transport.ts', '../errors.ts', 'node:crypto', 'node:timers/promises', 'pino', 'zod'],
  'src/rpc/drivers/rabbit-fine.ts': ['../transport.ts', './memory.ts', '../../errors.ts', 'amqplib'],
  'src/database/postgres.ts': ['./database.ts', '../errors.ts', '../rpc/durable-message.ts', 'pg'],
  'src/database/pglite.ts': ['./database.ts', '@electric-sql/pglite'],
  'src/notifications/fine.ts': ['../objects/flavor.ts', '../rpc/transport.ts', '../database/database.ts'],
  'src/billing/fine.ts': ['./ledger.ts', '../notifications/notification.ts', '../database/database.ts', 'yaml', 'zod'],
  'src/conductor/fine.ts': ['../compute/rpc-api.ts', '../database/database.ts', '../notifications/notifier.ts'],
  'src/scheduler/placement/fine.ts': ['../host-state.ts', '../../database/database.ts', '../../conductor/rpc-api.ts'],
  'src/scheduler/filters/fine.ts': ['../host-state.ts', '../../objects/request-spec.ts'],
  'src/compute/libvirt/fine.ts': ['../virt-driver.ts', '../../rpc/client.ts', 'fast-xml-parser', 'node:fs/promises'],
  'src/compute/libvirt/rpc/fine.ts': ['./frame.ts', '../domain-spec.ts', '../../../rpc/abortable.ts', 'node:net'],
  'src/compute/libvirt/configurators/fine.ts': ['../domain-spec.ts', '../../../objects/flavor.ts'],
  'src/compute/doctor/check-fine.ts': ['./finding.ts', '../libvirt/slot-limits.ts', '../../objects/flavor.ts'],
  'src/scheduler/rpc-api.ts': ['../objects/request-spec.ts', '../rpc/contract.ts', 'zod'],
  'src/cli/fine.ts': ['../config.ts', '../compose/open-transport.ts', '../conductor/rpc-api.ts', 'commander'],
}

let broken: readonly Finding[]
let fine: readonly Finding[]

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sevbus-floors-'))
  try {
    for (const { path, line } of breaches) await plant(join(folder, 'broken', path), line)
    await plant(join(folder, 'broken/src/rpc/i.ts'), "export const j = 1\nexport * from './h.ts'")
    for (const [path, modules] of Object.entries(allowed)) {
      await plant(join(folder, 'fine', path), modules.map((module) => `import '${module}'`).join('\n'))
    }
    for (const tree of ['broken', 'fine']) await copyFile(join(ROOT, 'biome.json'), join(folder, tree, 'biome.json'))
    broken = await lint(join(folder, 'broken'))
    fine = await lint(join(folder, 'fine'))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

async function plant(file: string, source: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, `${source}\n`)
}

interface Report {
  readonly diagnostics: readonly { category: string; message: string; location: { path: string } }[]
}

async function lint(root: string, ...options: readonly string[]): Promise<readonly Finding[]> {
  const output = await new Promise<string>((resolve, reject) => {
    const args = [BIOME, 'lint', '--reporter=json', '--max-diagnostics=none', ...options, '.']
    execFile(process.execPath, args, { cwd: root, maxBuffer: 64 << 20 }, (error, stdout) => {
      if (stdout === '') reject(error ?? new Error('biome printed nothing'))
      else resolve(stdout)
    })
  })
  const { diagnostics } = JSON.parse(output) as Report
  return diagnostics.map(({ category, message, location }) => ({
    rule: category.replace(/^lint\//, ''),
    path: location.path,
    message,
  }))
}

describe('the floors are a lint', () => {
  it.each(breaches)('$rule sees `$line` in $path', ({ path, rule }) => {
    const rules = broken.filter((finding) => finding.path === path).map((finding) => finding.rule)

    expect(rules).toContain(rule)
  })

  it('says why an import is refused', () => {
    const finding = broken.find(({ path }) => path === 'src/rpc/a.ts')

    expect(finding?.message).toContain('does not know what a virtual machine is')
  })

  it('lets through what a floor may import', () => {
    expect(fine).toEqual([])
  })

  it('holds in the tree as it is', async () => {
    const only = [IMPORTS, GLOBALS, 'suspicious/noImportCycles'].map((rule) => `--only=${rule}`)

    expect(await lint(ROOT, ...only)).toEqual([])
  })
})
