import { readFileSync } from 'node:fs'
import { cpuMsOf, ownCpuMs } from '../cpu.ts'
import { brokerPid, cpuSecondsOf } from '../turn.ts'
import type { BenchCloud } from './bench-cloud.ts'
import type { RealHost } from './real-host.ts'

/** Seconds of CPU, by who spent them; `host` is libvirt with its QEMUs, `client` this process. */
export type CpuOfAll = Readonly<Record<(typeof WHO)[number], number>>

export const WHO = ['client', 'conductor', 'scheduler', 'compute', 'broker', 'database', 'host'] as const

/** What all have spent so far. */
export async function cpuOfAll({ broker, databaseUrl }: BenchCloud, host: RealHost): Promise<CpuOfAll> {
  const { conductor, scheduler, compute } = host.pids
  return {
    client: ownCpuMs() / 1000,
    conductor: cpuSecondsOf(conductor),
    scheduler: cpuSecondsOf(scheduler),
    compute: cpuSecondsOf(compute),
    broker: cpuSecondsOf(brokerPid(broker.url)),
    database: ((await cpuMsOf(databaseUrl)) - ownCpuMs()) / 1000,
    host: (await host.libvirt.processes()).reduce((sum, { pid }) => sum + withChildren(pid), 0),
  }
}

export function spent(before: CpuOfAll, after: CpuOfAll): CpuOfAll {
  return Object.fromEntries(WHO.map((who) => [who, after[who] - before[who]])) as CpuOfAll
}

export function inAll(cpu: CpuOfAll): number {
  return WHO.reduce((sum, who) => sum + cpu[who], 0)
}

/** Seconds, with those of its children that have ended. Source: proc(5), /proc/pid/stat, fields 14 to 17, in hundredths. */
function withChildren(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return [11, 12, 13, 14].reduce((sum, n) => sum + Number(fields[n]), 0) / 100
  } catch {
    return 0
  }
}
