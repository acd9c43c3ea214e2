import type { MemorySums } from './check-memory.ts'
import type { Examination } from './examination.ts'
import { type Finding, fail, pass, skip, warn } from './finding.ts'
import { readValue, unknown, whyUnread } from './reading.ts'

const RESERVED = { check: 'reserved_memory', title: 'reserved memory' }
const SLICE = { check: 'machine_slice', title: 'machine.slice' }
const HUGE_PAGES = { check: 'huge_pages', title: 'huge pages' }

/** With no guest there, what is in use is the host's own. */
export function checkReserved({ host, options }: Examination): Finding {
  const { reserved_host_memory_mb: reserved } = options.resources
  const { info } = host.memory
  const value = `compute.reserved_host_memory_mb ${reserved}`
  if (info.state !== 'read') return unknown(RESERVED, info, 'mount /proc, and check libvirt.host_root')
  if (!('documents' in host.hypervisor))
    return skip(RESERVED, value, 'libvirt does not answer: whether guests run is not known')
  const { runningGuests } = host.hypervisor
  if (runningGuests > 0) {
    return skip(RESERVED, value, `${runningGuests} guests run: what the host itself uses is seen without any`)
  }
  const { totalMb, availableMb, hugePagesMb } = info.value
  const usedMb = Math.max(totalMb - availableMb - hugePagesMb, 0)
  const meaning = `the host uses ${usedMb} MiB without a guest`
  if (usedMb <= reserved) return pass(RESERVED, value, meaning)
  const fix = `set compute.reserved_host_memory_mb to ${roundedUp(usedMb)} or more: pinned guests leave nothing to take back`
  return warn(RESERVED, value, `${meaning}, more than is reserved`, fix)
}

/** To the next 256 MiB, with as much again to spare. */
function roundedUp(mb: number): number {
  return (Math.ceil(mb / 256) + 1) * 256
}

const FENCE_MARGIN_MB = 1024

/** The fence around all guests: none of them has a limit of its own. */
export function checkSlice({ host }: Examination, { offeredMb, pinnedMb }: MemorySums): Finding {
  const { slice } = host.memory
  const high = Math.max(offeredMb - FENCE_MARGIN_MB, Math.floor(offeredMb / 2))
  const fix = `systemctl set-property machine.slice MemoryHigh=${high}M MemoryMax=${offeredMb}M`
  if (slice.state === 'unreadable') return unknown(SLICE, slice, 'mount /sys/fs/cgroup, and check libvirt.host_root')
  const none = 'guests that take too much meet the host, not each other'
  const init = readValue(host.memory.init) ?? 'systemd'
  if (slice.state === 'absent' && init !== 'systemd') {
    const why = `the first process here is ${init}, and not systemd, under which libvirt has a machine.slice. ${none}`
    return warn(
      SLICE,
      'not there',
      why,
      'run libvirt under systemd, or put a control group of your own around its QEMUs',
    )
  }
  if (slice.state === 'absent') {
    const meaning = `${whyUnread(slice)}: no guest has run under systemd here. ${none}`
    return warn(SLICE, 'not there', meaning, fix)
  }
  const { maxMb, highMb } = slice.value
  const value = `MemoryMax ${limit(maxMb)}, MemoryHigh ${limit(highMb)}`
  const total = readValue(host.memory.info)?.totalMb ?? Number.POSITIVE_INFINITY
  if (maxMb >= total) return warn(SLICE, value, `no fence: ${none}`, fix)
  if (maxMb < offeredMb) {
    return fail(SLICE, value, `placement gives away ${offeredMb} MiB: guests that it lets in are killed`, fix)
  }
  const needed = Math.min(pinnedMb ?? offeredMb, offeredMb)
  if (highMb < needed) {
    return warn(SLICE, value, `slots alone may pin ${needed} MiB, which cannot be taken back: guests crawl`, fix)
  }
  return pass(SLICE, value, `above the ${offeredMb} MiB that placement gives away, below the host's memory`)
}

function limit(mb: number): string {
  return mb === Number.POSITIVE_INFINITY ? 'none' : `${mb} MiB`
}

export function checkHugePages({ host }: Examination): Finding {
  const { info } = host.memory
  if (info.state !== 'read') return unknown(HUGE_PAGES, info, 'mount /proc, and check libvirt.host_root')
  const { hugePagesMb, totalMb } = info.value
  if (hugePagesMb === 0) return pass(HUGE_PAGES, 'none', 'all memory is for guests of any flavor')
  const meaning = `of ${totalMb} MiB; MEMORY_MB counts them, and only flavors with hw:mem_page_size use them`
  return warn(
    HUGE_PAGES,
    `${hugePagesMb} MiB`,
    meaning,
    'keep the host for such flavors (aggregates), or give the pages back',
  )
}
