import type { HypervisorQuestions } from '../../../src/compute/doctor/ask-hypervisor.ts'
import { diagnose } from '../../../src/compute/doctor/diagnose.ts'
import type { DoctorOptions } from '../../../src/compute/doctor/doctor-options.ts'
import { examineHost } from '../../../src/compute/doctor/examine-host.ts'
import type { Finding, Verdict } from '../../../src/compute/doctor/finding.ts'
import type { FolderState } from '../../../src/compute/doctor/look-at-folder.ts'
import { type DeviceNode, type HostFiles, type Reading, read } from '../../../src/compute/doctor/reading.ts'
import { NO_FIRMWARE_FILES } from '../../../src/compute/libvirt/domain-options.ts'
import { NO_LIMITS } from '../../../src/compute/libvirt/slot-limits.ts'
import type { Tool } from '../../../src/compute/run-tool.ts'

/** A host as it was found once: its files, and what its libvirt says. */
export interface RecordedHost {
  /** Texts by path; null: the file is there, and may not be read. */
  readonly files: Readonly<Record<string, string | null>>
  readonly devices: Readonly<Record<string, DeviceNode>>
  /** Registers EAX, EBX, ECX, EDX by leaf; null: may not be read; undefined: the module is not loaded. */
  readonly cpuid: Readonly<Record<number, readonly [number, number, number, number]>> | null | undefined
  readonly libvirt: HypervisorQuestions
  /** Programs that are not installed. */
  readonly withoutTools?: readonly Tool[]
  /** What is otherwise about the folder of guests' disks; null: it may not be looked at. */
  readonly instancesFolder?: Partial<FolderState> | null | undefined
}

/** Reads what was recorded, as the files of a machine are read. */
class RecordedFiles implements HostFiles {
  readonly #host: RecordedHost

  constructor(host: RecordedHost) {
    this.#host = host
  }

  async text(path: string): Promise<Reading<string>> {
    return this.#reading(path, this.#host.files[path])
  }

  async bytes(path: string, position: number): Promise<Reading<Uint8Array>> {
    const { cpuid } = this.#host
    const registers = cpuid && (cpuid[position] ?? [0, 0, 0, 0])
    return this.#reading(path, registers && new Uint8Array(Uint32Array.from(registers).buffer))
  }

  async names(folder: string): Promise<Reading<readonly string[]>> {
    const below = Object.keys(this.#host.files).filter((path) => path.startsWith(`${folder}/`))
    const names = [...new Set(below.map((path) => path.slice(folder.length + 1).split('/')[0] ?? ''))]
    return this.#reading(folder, names.length > 0 ? names : undefined)
  }

  async device(path: string): Promise<Reading<DeviceNode>> {
    return this.#reading(path, this.#host.devices[path])
  }

  async program(anyOf: readonly [Tool, ...Tool[]]): Promise<Reading<string>> {
    const found = anyOf.find((tool) => !this.#host.withoutTools?.includes(tool))
    return this.#reading(anyOf.join(), found && `/usr/bin/${found}`)
  }

  async folder(path: string): Promise<Reading<FolderState>> {
    const { instancesFolder = {} } = this.#host
    if (instancesFolder === null) return { state: 'unreadable', path, why: 'not allowed (EACCES)' }
    const usual = { found: path, isFolder: true, isWritable: true, closed: [], kind: undefined }
    return read({ ...usual, freeGb: 400, totalGb: 900, ...instancesFolder })
  }

  #reading<T>(path: string, value: T | null | undefined): Reading<T> {
    if (value === undefined) return { state: 'absent', path: `/${path}` }
    return value === null ? { state: 'unreadable', path: `/${path}`, why: 'not allowed (EACCES)' } : read(value)
  }
}

export const DOCTOR_OPTIONS: DoctorOptions = {
  uri: 'qemu:///system',
  hostOptions: { virtType: 'kvm', machineTypeOf: () => 'q35', firmwareFiles: NO_FIRMWARE_FILES, root: '/' },
  network: { kind: 'none' },
  configDriveFormat: 'iso9660',
  instancesPath: '/var/lib/sevbus/instances',
  limits: NO_LIMITS,
  resources: { reserved_host_memory_mb: 4096, ram_allocation_ratio: 1 },
  overheadMb: 32,
  guests: [{ flavor: 'm1.sev', memoryMb: 512, model: 'amd-sev' }],
  required: [],
}

/** All findings about the host, in their order. */
export async function findingsOf(
  host: RecordedHost,
  options: Partial<DoctorOptions> = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<readonly Finding[]> {
  const wishes = { ...DOCTOR_OPTIONS, ...options }
  const examined = await examineHost(new RecordedFiles(host), host.libvirt, wishes, signal)
  return diagnose(examined, wishes).flatMap(({ findings }) => findings)
}

export async function findingOf(check: string, host: RecordedHost, options: Partial<DoctorOptions> = {}) {
  const found = (await findingsOf(host, options)).filter((finding) => finding.check === check)
  if (found.length !== 1) throw new Error(`${found.length} findings of ${check}`)
  const { verdict, value, meaning, fix } = found[0] as Finding
  return { verdict, value, meaning, fix }
}

/** Names of the checks with this verdict. */
export function checksWith(verdict: Verdict, findings: readonly Finding[]): readonly string[] {
  return findings.filter((finding) => finding.verdict === verdict).map(({ check }) => check)
}
