import type { Define } from './define.ts'

/** What the operator of the broker sets there. */
export function defineBroker(define: Define): void {
  define('policies', 'prints the bounds to set for queues that somebody may stop to read', async (options) =>
    (await import('./broker-policies.ts')).brokerPolicies(options),
  ).option('--max-bytes <bytes>', 'of each queue; 1 GiB without it')
}
