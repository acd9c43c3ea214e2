import { Option } from 'commander'
import { type Define, gathered } from './define.ts'

/** What operators decide about hosts. */
export function defineHost(define: Define): void {
  define('show <host>', 'one host, with its resources, traits and aggregates', async (options, [name]) =>
    (await import('./host.ts')).showHost(name as string, options),
  )
  define('set <host>', 'take a host out of service, or give it back', async (options, [name]) =>
    (await import('./host.ts')).setHost(name as string, options),
  )
    .option('--enable', 'it takes new instances, and builds that failed there are forgotten')
    .option('--disable', 'it takes no new instances; those on it stay')
    .option('--reason <text>', 'why it is disabled: shown to whoever asks why it is not chosen')
    .option('--forced-down', 'it counts as down at once, whatever it reports')
    .option('--no-forced-down', 'it counts as its reports say')
    .option('--fenced', 'it is powered off, you have seen to that: what evacuated instances had there is given back')
    .option('--no-fenced', 'it may have power again; it stays forced down')
}

export function defineGroup(define: Define): void {
  const load = () => import('./groups.ts')
  define(
    'create <name>',
    'make a group; instances join it by: sevbus boot --hint group=NAME',
    async (options, [name]) => (await load()).createGroup(name as string, options),
  )
    .addOption(
      new Option('--policy <policy>', 'together (affinity) or apart; soft ones are wishes')
        .choices(['affinity', 'anti-affinity', 'soft-affinity', 'soft-anti-affinity'])
        .makeOptionMandatory(),
    )
    .option('--max-server-per-host <n>', 'of anti-affinity: how many one host may have; 1 without it')
  define('list', 'all groups', async (options) => (await load()).listGroups(options))
  define('show <group>', 'one group, by uuid or name, with its members', async (options, [word]) =>
    (await load()).showGroup(word as string, options),
  )
  define('delete <group>', 'remove a group; its members stay where they are', async (options, [word]) =>
    (await load()).deleteGroup(word as string, options),
  )
}

export function defineAggregate(define: Define): void {
  const load = () => import('./aggregates.ts')
  define('create <name>', 'make a set of hosts with metadata', async (options, [name]) =>
    (await load()).createAggregate(name as string, options),
  )
    .option('--metadata <key=value>', 'what filters read, or a key of your own; may be repeated', gathered)
    .option('--host <host>', 'a host that is in it; may be repeated', gathered)
  define('list', 'all aggregates', async (options) => (await load()).listAggregates(options))
  define('show <name>', 'one aggregate, with its hosts', async (options, [name]) =>
    (await load()).showAggregate(name as string, options),
  )
  define('set <name>', 'change metadata; keys that are not named stay as they are', async (options, [name]) =>
    (await load()).setAggregate(name as string, options),
  )
    .option('--metadata <key=value>', 'a key with its new value; may be repeated', gathered)
    .option('--unset <key>', 'a key that goes; may be repeated', gathered)
  define('add-host <name> <hosts...>', 'put hosts into an aggregate', async (options, words) =>
    (await load()).addHosts(words, options),
  )
  define('remove-host <name> <hosts...>', 'take hosts out of an aggregate', async (options, words) =>
    (await load()).removeHosts(words, options),
  )
  define('delete <name>', 'remove an aggregate that has no hosts', async (options, [name]) =>
    (await load()).deleteAggregate(name as string, options),
  )
}
