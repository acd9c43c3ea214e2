/**
 * The second step of `npm run build`: what users run, out of few files. A worker that loads its 600 modules one by one takes
 * twice as long to start. What a command does not need stays in files of its own, loaded when it is asked for.
 *
 * All entry points at once, so that each module is in one file only: a filter that imports `sevbus/scheduler` meets the
 * very classes of the scheduler that loads it.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { build } from 'esbuild'

const FOLDER = 'dist/bundle'

const { outputFiles, metafile } = await build({
  entryPoints: {
    main: 'src/main.ts',
    client: 'src/client.ts',
    contracts: 'src/contracts.ts',
    notifications: 'src/notification-consumer.ts',
    scheduler: 'src/scheduler/extension.ts',
  },
  outdir: FOLDER,
  // The embedded database reads files beside its own; the others are wrapped by tracing SDKs when they are loaded.
  external: ['@electric-sql/pglite', '@opentelemetry/api', 'amqplib', 'pg', 'pino'],
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // What is CommonJS in it asks for modules of Node.
  banner: {
    js: `import { createRequire as $createRequire } from 'node:module'; const require = $createRequire(import.meta.url);`,
  },
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  write: false,
  logLevel: 'warning',
})

/** The licences of the packages that are in it, which ask to be kept with what is copied. */
async function licences() {
  const folders = new Set(
    Object.keys(metafile.inputs).flatMap((file) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []),
  )
  const texts = [...folders].toSorted().map(async (folder) => {
    const { name, license, author } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e(\.\w+)?$/i.test(entry))
    const untold = `By ${author?.name ?? author}. The package has no text of its licence.\n`
    return `${name} (${license})\n\n${file === undefined ? untold : await readFile(join(folder, file), 'utf8')}`
  })
  return (await Promise.all(texts)).join(`\n${'-'.repeat(80)}\n\n`)
}

/** All of it or nothing, also when two build at a time; what is as it was stays, for it may be running. */
async function put(file, text) {
  if ((await readFile(file, 'utf8').catch(() => undefined)) === text) return
  const half = `${file}.${process.pid}`
  await writeFile(half, text)
  await rename(half, file)
}

await mkdir(FOLDER, { recursive: true })
const files = new Map(outputFiles.map(({ path, text }) => [basename(path), text]))
files.set('LICENSES.txt', await licences())
// The entry points last: who finds one finds all that it imports.
const isEntry = (name) => !/-[A-Z0-9]{8}\./.test(name)
const inOrder = [...files].toSorted(([a], [b]) => Number(isEntry(a)) - Number(isEntry(b)))
for (const [name, text] of inOrder) await put(join(FOLDER, name), text)
const former = (await readdir(FOLDER)).filter((name) => !files.has(name) && /\.js(\.map)?$/.test(name))
await Promise.all(former.map((name) => rm(join(FOLDER, name), { force: true })))
