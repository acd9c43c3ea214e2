import { execFile } from 'node:child_process'
import { access, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { onPath } from '../../src/servers/programs.ts'
import { mayInstall } from './debian-packages.ts'

const run = promisify(execFile)
const SCHEMA = 'usr/share/libvirt/schemas/domain.rng'
/** The first whose schema knows SEV-SNP. Source: libvirt's release notes of 10.5.0. */
const SNP_SINCE = [10, 5]

/** A libvirt that can be asked about documents: its schema, and its own reader with the driver `test:///default`. */
export interface LibvirtTools {
  /** `9.0.0`. */
  readonly version: string
  readonly knowsSnp: boolean
  /** @throws with what the schema does not allow */
  validate(file: string): Promise<void>
  /** Defines the domain and reads it back. @throws with libvirt's own words */
  defineAndDump(file: string, name: string): Promise<string>
}

/** The distribution's; undefined where it is not installed. */
export async function findLibvirtTools(): Promise<LibvirtTools | undefined> {
  const programs = await Promise.all(['virsh', 'xmllint', 'virt-xml-validate'].map(onPath))
  if (programs.includes(undefined)) return undefined
  return await toolsIn('/', process.env)
}

/**
 * A newer one from the distribution's backports, unpacked into a folder and not installed: nothing of the machine
 * changes. Where the archive is, apt's own configuration says.
 *
 * @returns undefined where there is none
 */
export async function fetchNewerLibvirt(folder: string): Promise<LibvirtTools | undefined> {
  if (!(await mayInstall())) return undefined
  try {
    const archive = await mainArchive()
    if (archive === undefined) return undefined
    const apt = await privateApt(folder, archive)
    await run('apt-get', [...apt, '-qq', 'update'])
    await run('apt-get', [...apt, '-qq', 'download', 'libvirt0', 'libvirt-clients', 'libvirt-common'], { cwd: folder })
    const root = join(folder, 'root')
    const packages = (await readdir(folder)).filter((name) => name.endsWith('.deb'))
    for (const name of packages) await run('dpkg-deb', ['-x', join(folder, name), root])
    const libraries = join(root, 'usr/lib', `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`)
    const tools = await toolsIn(root, { ...process.env, LD_LIBRARY_PATH: libraries })
    return tools.knowsSnp ? tools : undefined
  } catch {
    return undefined
  }
}

interface Archive {
  readonly uri: string
  readonly codename: string
}

async function mainArchive(): Promise<Archive | undefined> {
  const codename = /^VERSION_CODENAME=(\w+)$/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1]
  const { stdout } = await run('apt-get', [
    'indextargets',
    '--format',
    '$(REPO_URI) $(CODENAME)',
    'Created-By: Packages',
  ])
  const line = stdout.split('\n').find((each) => each.endsWith(` ${codename}`))
  const uri = line?.split(' ')[0]
  return codename === undefined || uri === undefined ? undefined : { uri, codename }
}

/** Options with which apt reads this one source, and keeps what it fetches in the folder. */
async function privateApt(folder: string, { uri, codename }: Archive): Promise<readonly string[]> {
  for (const name of ['lists/partial', 'cache/archives/partial']) await mkdir(join(folder, name), { recursive: true })
  await writeFile(
    join(folder, 'sources.list'),
    `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${uri} ${codename}-backports main\n`,
  )
  const settings = {
    'Dir::Etc::SourceList': join(folder, 'sources.list'),
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::State::Lists': join(folder, 'lists'),
    'Dir::Cache': join(folder, 'cache'),
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
  }
  return Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`])
}

async function toolsIn(root: string, env: NodeJS.ProcessEnv): Promise<LibvirtTools> {
  const virsh = root === '/' ? 'virsh' : join(root, 'usr/bin/virsh')
  const schema = join(root, SCHEMA)
  await access(schema)
  const version = (await run(virsh, ['--version'], { env })).stdout.trim()
  return {
    version,
    knowsSnp: isAtLeast(version, SNP_SINCE),
    async validate(file) {
      // `virt-xml-validate` is this with a check for the program; it knows only the schemas that are installed.
      if (root === '/') await run('virt-xml-validate', [file, 'domain'])
      else await run('xmllint', ['--noout', '--relaxng', schema, file])
    },
    async defineAndDump(file, name) {
      const { stdout } = await run(virsh, ['-q', '-c', 'test:///default', `define ${file}; dumpxml ${name}`], { env })
      return stdout
    },
  }
}

function isAtLeast(version: string, [major = 0, minor = 0]: readonly number[]): boolean {
  const [ours = 0, oursMinor = 0] = version.split('.').map(Number)
  return ours > major || (ours === major && oursMinor >= minor)
}
