import type { Command } from 'commander'
import type { ActOptions } from './act.ts'
import type { Define } from './define.ts'

type Act = (words: readonly string[], options: ActOptions) => Promise<number>

/** What is done to instances that live. */
export function defineActions(define: Define): void {
  const load = () => import('./act.ts')
  const action = (name: string, summary: string, act: () => Promise<Act>): Command =>
    define(`${name} <instances...>`, summary, async (options, words) => (await act())(words, options)).option(
      '--wait',
      'until it is done, or has failed',
      false,
    )
  action('start', 'power stopped instances on, encrypted as they were', async () => (await load()).start)
  action('stop', 'power instances off; what they have on their hosts stays theirs', async () => (await load()).stop)
    // Nova calls it force.
    .option('--hard', 'take their power at once, without asking the guests to shut down', false)
  action('reboot', 'power instances off and on', async () => (await load()).reboot).option(
    '--hard',
    'take their power at once; of stopped, paused, suspended and failed ones, too',
    false,
  )
  action('pause', 'have the processors of instances stand still', async () => (await load()).pause)
  action('unpause', 'let paused instances go on', async () => (await load()).unpause)
  action('suspend', 'save the memory of instances and power them off', async () => (await load()).suspend)
  action('resume', 'let suspended instances go on', async () => (await load()).resume)
}
