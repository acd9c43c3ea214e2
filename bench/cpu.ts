import { readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import pg from 'pg'

/** Linux counts in ticks of 10 ms. */
const TICK_MS = 10
/** Behind `pid (comm)`: ppid is the 2nd field, then utime 12th, stime, cutime, cstime. */
const [PPID, UTIME] = [1, 11]

const postmasters = new Map<string, number>()

/** CPU so far of this process and of the PostgreSQL server behind the URL on this machine, dead children included. */
export async function cpuMsOf(url: string): Promise<number> {
  let postmaster = postmasters.get(url)
  if (postmaster === undefined) {
    postmaster = await postmasterOf(url)
    postmasters.set(url, postmaster)
  }
  const processes = await Promise.all((await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(statOf))
  let ticks = 0
  for (const { pid, ppid, times } of processes) {
    if (ppid === postmaster) ticks += times[0] + times[1]
    else if (pid === postmaster) ticks += times[0] + times[1] + times[2] + times[3]
  }
  return ticks * TICK_MS + ownCpuMs()
}

/** Of this process alone. */
export function ownCpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Of the first thread of a process. */
export function mainThreadMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/task/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[UTIME]) + Number(fields[UTIME + 1])) * TICK_MS
}

async function postmasterOf(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
    return (await statOf(String(rows[0]?.pid))).ppid
  } finally {
    await client.end()
  }
}

async function statOf(pid: string) {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  const time = (n: number) => fields[UTIME + n] || 0
  return { pid: Number(pid), ppid: fields[PPID] ?? 0, times: [time(0), time(1), time(2), time(3)] as const }
}
