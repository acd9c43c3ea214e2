import type { Logger } from 'pino'
import type { Transport } from '../rpc/transport.ts'
import type { Monitor } from './monitor/monitor.ts'

/** A service that runs: it takes work until it is drained. */
export interface Worker {
  /** For logs: `scheduler of node1`. */
  readonly name: string
  /** Rejects when the worker cannot go on: it is deaf, or its disk does not take what it must remember. Never resolves. */
  readonly broken: Promise<never>
  /**
   * Takes nothing new, lets running work end within the grace time, gives back the rest, closes what it opened. A
   * second caller gets the same promise.
   */
  drain(graceMs: number): Promise<void>
}

/** What every worker is given: it opens none of it, and closes none of it but the transport. */
export interface WorkerPorts {
  /** Its name on the bus. */
  readonly host: string
  readonly transport: Transport
  readonly logger: Logger
  /** Where it is watched, if anywhere. */
  readonly monitor?: Pick<Monitor, 'observer' | 'watch'> | undefined
}

/** Closes in the order given, each even when one before it failed; the first failure is told at the end. */
export async function closeInOrder(steps: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = []
  for (const step of steps) await step().catch((error: unknown) => failures.push(error))
  if (failures.length > 0) throw failures[0]
}

/** So long the last messages of a worker that stops may take to be sent; what is left is sent by the next. */
export const LAST_MESSAGES_MS = 5000

/** A worker that cannot start closes what it had opened, so that its process ends and its locks are free. */
export async function startOrClose(
  drain: (graceMs: number) => Promise<void>,
  start: () => Promise<void>,
): Promise<void> {
  try {
    await start()
  } catch (error) {
    await drain(0).catch(() => {})
    throw error
  }
}

/** Runs `work` once, however many ask. */
export function once<T, A extends unknown[]>(work: (...args: A) => Promise<T>): (...args: A) => Promise<T> {
  let running: Promise<T> | undefined
  return (...args) => {
    running ??= work(...args)
    return running
  }
}

/** Rejects as the first of them does. Nobody need listen: whoever rejects says so in the log. */
export function firstBroken(...all: readonly Promise<never>[]): Promise<never> {
  const first = Promise.race(all)
  first.catch(() => {})
  return first
}
