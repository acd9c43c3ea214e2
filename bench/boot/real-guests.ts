import { randomUUID } from 'node:crypto'
import { BareClient } from './bare-client.ts'
import { median, openBenchCloud } from './bench-cloud.ts'
import { type CpuOfAll, cpuOfAll, inAll, spent, WHO } from './cpu-of-all.ts'
import { GuestClock, type GuestTimes } from './guest-clock.ts'
import { openRealHost, type RealHost } from './real-host.ts'

const AIM_MEMORY_MIB = 110

interface Options {
  readonly ones: number
  readonly bursts: number
  readonly inFlight: number
  /** Of both, before the clock: until compilers have come to rest, whose threads a worker that lives for days does not pay for. */
  readonly warmUpBursts: number
  readonly warmUpBoots: number
  readonly encrypted: boolean
  readonly profileFolder?: string | undefined
}

/** Milliseconds; of several guests at once until the last one runs. */
interface Turn {
  readonly disksMs: number
  /** Until libvirt has the document: what comes after is QEMU's start, which is the same for both. */
  readonly definedMs: number
  readonly runsMs: number
  /** Ours: until the guest is proven and reported, and ACTIVE. */
  readonly activeMs: number
  /** Until then, of everybody. */
  readonly cpu: CpuOfAll
}

type Side = (uuids: readonly string[]) => Promise<Turn>

/** Boots through the whole cloud beside the bare client, in turns. */
export async function benchRealGuests({ ones, bursts, inFlight, warmUpBursts, ...options }: Options): Promise<void> {
  await using bench = await openBenchCloud()
  const host = await openRealHost(bench, options)
  const clock = new GuestClock(host.libvirt.uri)
  const bare = new BareClient(host.libvirt.uri)
  try {
    await clock.open()
    const cpu = () => cpuOfAll(bench, host)
    const sides = { ours: throughTheCloud(host, clock, cpu), bare: byTheBareClient(host, clock, bare, cpu) }
    for (let turn = 0; turn < warmUpBursts; turn++) {
      for (const side of Object.values(sides)) await side(Array.from({ length: inFlight }, () => randomUUID()))
    }
    for (const side of Object.values(sides)) await side([randomUUID()])

    const kind = options.encrypted ? 'encrypted guests (SEV, emulated)' : 'guests in clear'
    console.log(`${kind}; ms; medians of turns`)
    const single = await inTurns(sides, ones, 1)
    show('one at a time', single)
    showCpu(single, 1)
    const ratio = median(single.ours.map(({ runsMs }) => runsMs)) / median(single.bare.map(({ runsMs }) => runsMs))
    console.log(`one: until it runs ${ratio.toFixed(2)} of the bare client's, aim <= 1.10`)

    let memory = { now: Number.NaN, peak: Number.NaN }
    const atFull = async () => {
      memory = await host.workerMemory()
    }
    const many = await inTurns({ ...sides, ours: throughTheCloud(host, clock, cpu, atFull) }, bursts, inFlight)
    show(`${inFlight} in flight, until the last one`, many)
    showCpu(many, inFlight)
    const rates = [many.ours, many.bare].map((turns) => (inFlight * 1000) / median(turns.map(({ runsMs }) => runsMs)))
    const [ours = Number.NaN, theirs = Number.NaN] = rates
    console.log(
      `${inFlight} in flight: ${ours.toFixed(2)} a second, the bare client ${theirs.toFixed(2)}; ratio ${(ours / theirs).toFixed(2)}, aim >= 0.95`,
    )
    console.log(
      `the worker with ${inFlight} guests: ${memory.now.toFixed(0)} MiB, at most ${memory.peak.toFixed(0)}; aim <= ${AIM_MEMORY_MIB}`,
    )
  } finally {
    await bare.close()
    await clock.close()
    await host.close()
  }
}

/** Each side begins as often as the other: the second one finds a warmer machine. */
async function inTurns(sides: { readonly ours: Side; readonly bare: Side }, rounds: number, guests: number) {
  const turns = { ours: [] as Turn[], bare: [] as Turn[] }
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? (['ours', 'bare'] as const) : (['bare', 'ours'] as const)) {
      turns[name].push(await sides[name](Array.from({ length: guests }, () => randomUUID())))
    }
  }
  return turns
}

type Cpu = () => Promise<CpuOfAll>

function throughTheCloud(host: RealHost, clock: GuestClock, cpu: Cpu, whenActive?: () => Promise<void>): Side {
  return async (uuids) => {
    const disksMs = await prepared(host, uuids)
    const running = uuids.map((uuid) => clock.times(uuid))
    let acceptedMs = Number.POSITIVE_INFINITY
    const before = await cpu()
    host.profile()
    await Promise.all(
      uuids.map(async (uuid) => {
        await host.boot(uuid)
        acceptedMs = Math.min(acceptedMs, performance.now())
      }),
    )
    const times = await Promise.all(running)
    await host.settled(uuids)
    const activeMs = performance.now()
    const used = spent(before, await cpu())
    host.profile()
    await whenActive?.()
    await host.remove(uuids)
    return turn({ disksMs, fromMs: acceptedMs, times, activeMs, cpu: used })
  }
}

function byTheBareClient(host: RealHost, clock: GuestClock, bare: BareClient, cpu: Cpu): Side {
  return async (uuids) => {
    const disksMs = await prepared(host, uuids)
    const documents = uuids.map((uuid) => ({ uuid, xml: host.xmlOf(uuid) }))
    const running = uuids.map((uuid) => clock.times(uuid))
    const before = await cpu()
    const beganMs = performance.now()
    await Promise.all(documents.map(({ uuid, xml }) => bare.boot(uuid, xml)))
    const times = await Promise.all(running)
    const used = spent(before, await cpu())
    await Promise.all(uuids.map((uuid) => bare.remove(uuid)))
    for (const uuid of uuids) await host.removeDisks(uuid)
    return turn({ disksMs, fromMs: beganMs, times, activeMs: Number.NaN, cpu: used })
  }
}

async function prepared(host: RealHost, uuids: readonly string[]): Promise<number> {
  let ms = 0
  for (const uuid of uuids) ms += await host.prepareDisks(uuid)
  return ms
}

interface Seen extends Pick<Turn, 'disksMs' | 'activeMs' | 'cpu'> {
  readonly fromMs: number
  readonly times: readonly GuestTimes[]
}

function turn({ disksMs, fromMs, times, activeMs, cpu }: Seen): Turn {
  return {
    disksMs,
    definedMs: Math.max(...times.map(({ definedMs }) => definedMs)) - fromMs,
    runsMs: Math.max(...times.map(({ startedMs }) => startedMs)) - fromMs,
    activeMs: activeMs - fromMs,
    cpu,
  }
}

function show(title: string, turns: { readonly ours: readonly Turn[]; readonly bare: readonly Turn[] }): void {
  console.log(`${title} (${turns.ours.length} turns)`)
  const of = (side: readonly Turn[], key: 'disksMs' | 'definedMs' | 'runsMs' | 'activeMs') =>
    median(side.map((each) => each[key])).toFixed(0)
  const row = (side: readonly Turn[]) => ({
    'disks, before': of(side, 'disksMs'),
    defined: of(side, 'definedMs'),
    'defined to running': median(side.map(({ definedMs, runsMs }) => runsMs - definedMs)).toFixed(0),
    running: of(side, 'runsMs'),
    ...(side === turns.ours && { 'ACTIVE, by polling': of(side, 'activeMs') }),
  })
  console.table({ sevbus: row(turns.ours), 'bare client': row(turns.bare) })
}

/** What a busy machine changes least. */
function showCpu(turns: { readonly ours: readonly Turn[]; readonly bare: readonly Turn[] }, guests: number): void {
  const ms = (side: readonly Turn[], of: (cpu: CpuOfAll) => number) =>
    (median(side.map(({ cpu }) => of(cpu))) * 1000) / guests
  const row = (side: readonly Turn[]) => ({
    ...Object.fromEntries(WHO.map((who) => [who, ms(side, (cpu) => cpu[who]).toFixed(1)])),
    'in all': ms(side, inAll).toFixed(0),
  })
  console.log('  CPU of a guest, ms; ours until ACTIVE, the bare client until it runs')
  console.table({ sevbus: row(turns.ours), 'bare client': row(turns.bare) })
  console.log(`  the bare client's / ours: ${(ms(turns.bare, inAll) / ms(turns.ours, inAll)).toFixed(2)}`)
}
