import { setTimeout as sleep } from 'node:timers/promises'

interface Patience {
  readonly timeoutMs: number
  readonly intervalMs?: number
}

/** Until it does not throw any more; `vi.waitFor` for what also runs without vitest. @throws what it threw last */
export async function waitFor<T>(check: () => T | Promise<T>, { timeoutMs, intervalMs = 50 }: Patience): Promise<T> {
  const endMs = performance.now() + timeoutMs
  for (;;) {
    try {
      return await check()
    } catch (error) {
      if (performance.now() >= endMs) throw error
    }
    await sleep(intervalMs)
  }
}
