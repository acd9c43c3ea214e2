import type { Logger } from 'pino'
import type { Transport } from '../rpc/transport.ts'

/** A service that runs: it takes work until it is drained. */
export interface Worker {
  /** For logs: `scheduler of node1`. */
  readonly name: string
  /** Rejects when the worker cannot go on: its disk does not take what it must remember. Never resolves. */
  readonly broken?: Promise<never>
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
}

/** Closes in the order given, each even when one before it failed; the first failure is told at the end. */
export async function closeInOrder(steps: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = []
  for (const step of steps) await step().catch((error: unknown) => failures.push(error))
  if (failures.length > 0) throw failures[0]
}

/** Runs `work` once, however many ask. */
export function once<T, A extends unknown[]>(work: (...args: A) => Promise<T>): (...args: A) => Promise<T> {
  let running: Promise<T> | undefined
  return (...args) => {
    running ??= work(...args)
    return running
  }
}
