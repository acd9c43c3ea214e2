import type { MemorySums } from './check-memory.ts'
import type { Examination } from './examination.ts'
import { type Finding, pass, warn } from './finding.ts'
import { readValue, unknown } from './reading.ts'

const OVERCOMMIT = { check: 'overcommit_memory', title: 'vm.overcommit_memory' }
const OOM = { check: 'panic_on_oom', title: 'vm.panic_on_oom' }
const KSM = { check: 'ksm', title: 'page merging (KSM)' }
const SWAP = { check: 'swap', title: 'swap' }

const PROC_FIX = 'mount /proc, and check libvirt.host_root'
/** Linux, Documentation/mm/overcommit-accounting.rst */
const STRICT = '2'

export function checkOvercommit({ host: { memory } }: Examination, { offeredMb }: MemorySums): Finding {
  const { overcommitMemory: reading } = memory
  if (reading.state !== 'read') return unknown(OVERCOMMIT, reading, PROC_FIX)
  const { value } = reading
  if (value !== STRICT) return pass(OVERCOMMIT, value, 'QEMU may map a whole guest')
  const limitMb = readValue(memory.info)?.commitLimitMb ?? 0
  const meaning = `strict: all that is mapped, guests' memory too, is at most ${limitMb} MiB`
  if (limitMb >= offeredMb) return pass(OVERCOMMIT, value, meaning)
  const fix = 'sysctl -w vm.overcommit_memory=0, and in /etc/sysctl.d; or raise vm.overcommit_ratio'
  return warn(OVERCOMMIT, value, `${meaning}, less than the ${offeredMb} that placement gives away`, fix)
}

export function checkPanicOnOom({ host: { memory } }: Examination): Finding {
  const { panicOnOom: reading } = memory
  if (reading.state !== 'read') return unknown(OOM, reading, PROC_FIX)
  if (reading.value === '0') return pass(OOM, '0', 'where memory ends one process is killed, not the host')
  const meaning = 'where memory ends the whole host goes down, with all its guests'
  return warn(OOM, reading.value, meaning, 'sysctl -w vm.panic_on_oom=0, and in /etc/sysctl.d')
}

export function checkKsm({ host: { memory } }: Examination): Finding {
  const { ksm: reading } = memory
  if (reading.state === 'absent') return pass(KSM, 'not in the kernel', 'nothing is merged')
  if (reading.state !== 'read') return unknown(KSM, reading, 'mount /sys, and check libvirt.host_root')
  if (reading.value !== '1') return pass(KSM, 'off', 'nothing is merged')
  const meaning = 'it finds no equal pages in encrypted memory: costs time, saves nothing'
  return warn(KSM, 'on', meaning, 'systemctl disable --now ksm ksmtuned; echo 2 > /sys/kernel/mm/ksm/run')
}

/** Pinned memory never goes there; that of guests in clear and of QEMU itself does. */
export function checkSwap({ host: { memory }, options }: Examination): Finding {
  const { swaps } = memory
  if (swaps.state !== 'read') return unknown(SWAP, swaps, PROC_FIX)
  const { ram_allocation_ratio: ratio } = options.resources
  const isCompressed = readValue(memory.zswap) === 'Y' || swaps.value.some(({ device }) => device.includes('zram'))
  if (swaps.value.length === 0) {
    if (ratio <= 1) return pass(SWAP, 'none', 'nothing of any guest is written to a disk')
    const meaning = `compute.ram_allocation_ratio is ${ratio}: guests in clear are promised memory that is nowhere`
    return warn(SWAP, 'none', meaning, 'set compute.ram_allocation_ratio = 1, or add encrypted swap')
  }
  const size = swaps.value.reduce((sum, { sizeMb }) => sum + sizeMb, 0)
  const used = swaps.value.reduce((sum, { usedMb }) => sum + usedMb, 0)
  const value = `${size} MiB on ${swaps.value.map(({ device }) => device).join(', ')}, ${used} in use`
  const compressed = isCompressed ? '; it is compressed, which encrypted memory does not' : ''
  const meaning = `encrypted guests never use it; memory of guests in clear and of QEMU is written there${compressed}`
  return warn(
    SWAP,
    value,
    meaning,
    'encrypt it, or leave it off (swapoff -a, /etc/fstab); never count it as memory for slots',
  )
}
