import { execFile } from 'node:child_process'
import { copyFile, mkdir, open, readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { constants as os } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const SOURCES = join(import.meta.dirname, '../../sev-emulator')
const FILES = ['libfakesev.so', 'asid-counter'] as const
/** Names the folder where it is compiled already. */
const BUILT = 'SEVBUS_TEST_SEV_EMULATOR'
/** Where the emulator looks, on its own machine; below the machine's folder, as the private machine binds it. */
const FOLDER = 'run/fake-sev'

/** What the emulated processor has; names as in its file (sev-emulator/README.md). */
export interface SevSettings {
  readonly cbitpos?: number
  /** Number of ASIDs. */
  readonly max_asid?: number
  /** The first ASID for SEV; SEV-ES has what is below: 1 leaves none. */
  readonly min_sev_asid?: number
  /** How long each command takes. */
  readonly delay_ms?: number
  /** 1: what must lock memory is told that it did. Without it: 1 where this machine may not lock, else 0. */
  readonly fake_memlock?: 0 | 1
}

/** A command that fails. Commands are named as in its log: `LAUNCH_START`, `ES_INIT`, `REG_REGION`. */
interface Fault {
  readonly errno: keyof typeof os.errno
  /** The firmware's status: 23 is RESOURCE_LIMIT. */
  readonly fwError?: number
}

/** The software in place of AMD's secure processor on a private machine. It can be changed while guests run. */
export class EmulatedSev {
  readonly #folder: string
  readonly #fixed: Readonly<Record<string, string | number>>
  #settings: SevSettings
  readonly #faults = new Map<string, Fault>()

  private constructor(folder: string, settings: SevSettings, fixed: Readonly<Record<string, string | number>>) {
    this.#folder = folder
    this.#settings = settings
    this.#fixed = fixed
  }

  /** Writes its files; compiles it unless that was done for the whole run. @param machine folder of the machine @param name of the host */
  static async prepare(machine: string, name: string, settings: SevSettings): Promise<EmulatedSev> {
    const folder = join(machine, FOLDER)
    await mkdir(folder)
    const built = process.env[BUILT]
    if (built === undefined) await buildEmulator(folder)
    else for (const file of FILES) await copyFile(join(built, file), join(folder, file))
    const sev = new EmulatedSev(folder, settings, { name, ...((await mayLockMemory()) ? {} : { fake_memlock: 1 }) })
    // Of anybody: QEMU runs as a user of its own.
    for (const file of ['asids', 'log']) await writeFile(join(folder, file), '', { mode: 0o666 })
    await run('chmod', ['666', join(folder, 'asids'), join(folder, 'log')])
    await sev.#write()
    return sev
  }

  /** For LD_PRELOAD. */
  get library(): string {
    return `/${FOLDER}/libfakesev.so`
  }

  get counter(): string {
    return `/${FOLDER}/asid-counter`
  }

  /** Takes the place of what was set before. libvirt has asked for limits by then, and asks again when it starts. */
  async configure(settings: SevSettings): Promise<void> {
    this.#settings = settings
    await this.#write()
  }

  /** The command fails from now on, until `heal`. */
  async fail(command: string, fault: Fault): Promise<void> {
    this.#faults.set(command, fault)
    await this.#write()
  }

  async heal(): Promise<void> {
    this.#faults.clear()
    await this.#write()
  }

  /** What KVM was asked, a line each, without the process: `LAUNCH_START policy=0x33 asid=100 ok`. */
  async log(): Promise<readonly string[]> {
    const lines = (await readFile(join(this.#folder, 'log'), 'utf8')).split('\n').slice(0, -1)
    return lines.map((line) => line.slice(line.indexOf(' ') + 1))
  }

  async #write(): Promise<void> {
    const settings = Object.entries({ ...this.#fixed, ...this.#settings }).map(([name, value]) => `${name}=${value}`)
    const faults = [...this.#faults].map(
      ([command, { errno, fwError = 0 }]) => `fail=${command}:${os.errno[errno]}:${fwError}`,
    )
    // Whole or not at all: it is read at each command.
    const file = join(this.#folder, 'conf')
    await writeFile(`${file}.new`, `${[...settings, ...faults].join('\n')}\n`, { mode: 0o644 })
    await rename(`${file}.new`, file)
  }
}

/** Compiles it, once for all processes of a test run. */
export async function buildForTheRun(folder: string): Promise<void> {
  await mkdir(folder)
  await buildEmulator(folder)
  process.env[BUILT] = folder // the test runner's processes inherit it
}

async function buildEmulator(folder: string): Promise<void> {
  await run('sh', [join(SOURCES, 'build.sh'), folder])
}

/** Parameters of `kvm_amd` as such a host shows them. @param root stands in for `/` */
export async function writeKernelParameters(root: string, { min_sev_asid = 100 }: SevSettings): Promise<void> {
  const folder = join(root, 'sys/module/kvm_amd/parameters')
  await mkdir(folder, { recursive: true })
  const parameters = { sev: 'Y', sev_es: min_sev_asid > 1 ? 'Y' : 'N', sev_snp: 'N' }
  for (const [name, value] of Object.entries(parameters)) await writeFile(join(folder, name), `${value}\n`)
}

/** What else a host shows of itself: this machine's kernel and `/dev/kvm`, and the emulated processor. @param root stands in for `/` */
export async function writeHostView(root: string, settings: SevSettings): Promise<void> {
  await mkdir(join(root, 'dev/cpu/0'), { recursive: true })
  await symlink('/proc', join(root, 'proc'))
  await symlink('/dev/kvm', join(root, 'dev/kvm'))
  // As on its own machine: the node is another device's.
  await symlink('/dev/null', join(root, 'dev/sev'))
  await writeEncryptionLeaf(join(root, 'dev/cpu/0/cpuid'), settings)
}

/** A file of holes that reads as the module `cpuid`'s does, at the numbers of two leaves (sev-emulator/processor.c). */
async function writeEncryptionLeaf(path: string, settings: SevSettings): Promise<void> {
  const { cbitpos = 47, max_asid = 509, min_sev_asid = 100 } = settings
  const [sev, sevEs, reducedPhysBits] = [1 << 1, 1 << 3, 1]
  const leaves = [
    [0x8000_0000, [0x8000_001f, 0, 0, 0]],
    [0x8000_001f, [sev | sevEs, (reducedPhysBits << 6) | cbitpos, max_asid, min_sev_asid]],
  ] as const
  await using file = await open(path, 'w')
  for (const [leaf, registers] of leaves) await file.write(Buffer.from(Uint32Array.from(registers).buffer), 0, 16, leaf)
}

/** Guests with locked memory need libvirt to raise the limit of their QEMU. */
async function mayLockMemory(): Promise<boolean> {
  return await run('prlimit', ['--memlock=unlimited:unlimited', 'true']).then(
    () => true,
    () => false,
  )
}
