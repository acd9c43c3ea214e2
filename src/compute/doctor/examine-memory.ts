import { type HostFiles, parsed, type Reading } from './reading.ts'

/** In MiB. */
export interface MemInfo {
  readonly totalMb: number
  readonly availableMb: number
  /** In huge pages, used or not. */
  readonly hugePagesMb: number
  /** Of strict overcommit. */
  readonly commitLimitMb: number
}

export interface Swap {
  readonly device: string
  readonly sizeMb: number
  readonly usedMb: number
}

/** What the control group of all guests may have, in MiB; Infinity: no limit. */
export interface SliceLimits {
  readonly maxMb: number
  /** Beyond it the kernel takes memory back, and slows who wants more. Control groups of version 1 have none. */
  readonly highMb: number
}

export interface MemoryState {
  readonly info: Reading<MemInfo>
  readonly swaps: Reading<readonly Swap[]>
  readonly slice: Reading<SliceLimits>
  /** The name of the first process: `systemd`, where that makes the control groups. */
  readonly init: Reading<string>
  /** `Y`: the kernel compresses what it swaps. */
  readonly zswap: Reading<string>
  readonly ksm: Reading<string>
  readonly overcommitMemory: Reading<string>
  readonly panicOnOom: Reading<string>
}

const KIB_PER_MIB = 1024
const BYTES_PER_MIB = 1024 ** 2
const SLICE = 'sys/fs/cgroup/machine.slice'
const SLICE_OF_VERSION_1 = 'sys/fs/cgroup/memory/machine.slice/memory.limit_in_bytes'

export async function examineMemory(files: HostFiles): Promise<MemoryState> {
  const line = async (path: string) => parsed(await files.text(path), path, (text) => text.trim())
  const [info, swaps, slice, init, zswap, ksm, overcommitMemory, panicOnOom] = await Promise.all([
    files.text('proc/meminfo'),
    files.text('proc/swaps'),
    examineSlice(files),
    line('proc/1/comm'),
    line('sys/module/zswap/parameters/enabled'),
    line('sys/kernel/mm/ksm/run'),
    line('proc/sys/vm/overcommit_memory'),
    line('proc/sys/vm/panic_on_oom'),
  ])
  return {
    info: parsed(info, 'proc/meminfo', parseMemInfo),
    swaps: parsed(swaps, 'proc/swaps', parseSwaps),
    slice,
    init,
    zswap,
    ksm,
    overcommitMemory,
    panicOnOom,
  }
}

function parseMemInfo(text: string): MemInfo | undefined {
  const mb = (name: string) => {
    const [, kib] = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text) ?? []
    return kib === undefined ? undefined : Math.floor(Number(kib) / KIB_PER_MIB)
  }
  const [totalMb, availableMb] = [mb('MemTotal'), mb('MemAvailable')]
  if (totalMb === undefined || availableMb === undefined) return undefined
  return { totalMb, availableMb, hugePagesMb: mb('Hugetlb') ?? 0, commitLimitMb: mb('CommitLimit') ?? totalMb }
}

function parseSwaps(text: string): readonly Swap[] {
  const rows = text.split('\n').slice(1)
  return rows.flatMap((row) => {
    const [device, , size, used] = row.split(/\s+/)
    if (!device || size === undefined || used === undefined) return []
    const [sizeMb = 0, usedMb = 0] = [size, used].map((kib) => Math.floor(Number(kib) / KIB_PER_MIB))
    return [{ device, sizeMb, usedMb }]
  })
}

async function examineSlice(files: HostFiles): Promise<Reading<SliceLimits>> {
  const [max, high, limit] = await Promise.all([
    files.text(`${SLICE}/memory.max`),
    files.text(`${SLICE}/memory.high`),
    files.text(SLICE_OF_VERSION_1),
  ])
  if (max.state === 'absent' && limit.state === 'read') {
    return parsed(limit, SLICE_OF_VERSION_1, (text) => ({ maxMb: limitMb(text), highMb: Number.POSITIVE_INFINITY }))
  }
  return parsed(max, SLICE, (text) => ({
    maxMb: limitMb(text),
    highMb: high.state === 'read' ? limitMb(high.value) : Number.POSITIVE_INFINITY,
  }))
}

/** Version 1 writes a number beyond all memory for no limit. */
const BEYOND_ALL_MEMORY = 2 ** 60

function limitMb(text: string): number {
  const bytes = text.trim() === 'max' ? Number.POSITIVE_INFINITY : Number(text)
  return bytes >= BEYOND_ALL_MEMORY ? Number.POSITIVE_INFINITY : Math.floor(bytes / BYTES_PER_MIB)
}
