import { type Command, Option } from 'commander'
import { CONSOLE_PROTOCOLS } from '../objects/console.ts'
import type { ActOptions } from './act.ts'
import type { Define } from './define.ts'

type Act = (words: readonly string[], options: ActOptions) => Promise<number>

/** What is done to instances that live. */
export function defineActions(define: Define): void {
  const load = () => import('./act.ts')
  const shelving = () => import('./shelve.ts')
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
  action('unrescue', 'boot rescued instances from their own disks again', async () => (await load()).unrescue)
  action(
    'shelve',
    'keep the disks of instances as images, and give all else back',
    async () => (await shelving()).shelve,
  ).option('--hard', 'take their power at once, without asking the guests to shut down', false)
  action('unshelve', 'build shelved instances from their images again', async () => (await shelving()).unshelve)
    .option('--availability-zone <zone>', 'only on hosts of this zone, from now on')
    .option('--no-availability-zone', 'in any zone, from now on')
    .option('--host <host>', 'only there')
  defineRescue(define)
  defineDevices(define)
  defineSnapshot(define)
}

function defineRescue(define: Define): void {
  define(
    'rescue <instance>',
    'boot an instance from another image, its own disk beside that',
    async (options, [word]) => (await import('./snapshot.ts')).rescue(word as string, options),
  )
    .option('--image <image>', 'a name of the catalogue, or a JSON file; else the image it was booted from')
    .option('--wait', 'until it is done, or has failed', false)
}

/** What is made of them. */
function defineSnapshot(define: Define): void {
  define('snapshot <instance> <name>', "make an image of an instance's root disk", async (options, [word, name]) =>
    (await import('./snapshot.ts')).snapshot(word as string, name as string, options),
  )
    .option('--image-id <uuid>', 'how the image is called in the store; else a new id is made')
    .option('--wait', 'until it is done, or has failed', false)
}

/** What is plugged into them. */
function defineDevices(define: Define): void {
  const load = () => import('./devices.ts')
  const wait = ['--wait', 'until it is done, or has failed', false] as const
  define(
    'attach-volume <instance> <path>',
    'plug a file or a block device of its host in',
    async (options, [word, path]) => (await load()).attachVolume(word as string, path as string, options),
  )
    .option('--volume-id <uuid>', 'how the volume is called; else a new name is made')
    .option('--bus <bus>', 'virtio, scsi, sata or usb; else that of the root disk')
    .option(...wait)
  define('detach-volume <instance> <volume>', 'take a volume out, by its id or path', async (options, [word, volume]) =>
    (await load()).detachVolume(word as string, volume as string, options),
  ).option(...wait)
  define('attach-interface <instance>', 'plug a network interface in', async (options, [word]) =>
    (await load()).attachInterface(word as string, options),
  )
    .option('--mac <mac>', 'its address; else one is made')
    .option('--network <network>', "a network of libvirt's; else where the host plugs all guests in")
    .option('--bridge <bridge>', 'a bridge of the host, instead')
    .option('--address <ip>', 'its IP address, for notifications')
    .option(...wait)
  define('detach-interface <instance> <mac>', 'take a network interface out', async (options, [word, mac]) =>
    (await load()).detachInterface(word as string, mac as string, options),
  ).option(...wait)
}

/** What they say, and where they are seen. */
export function defineConsoles(define: Define): void {
  const load = () => import('./consoles.ts')
  define(
    'console-log <instance>',
    'what an instance has written to its serial port, the end of it',
    async (options, [word]) => (await load()).consoleLog(word as string, options),
  ).option('--lines <n>', 'the last so many lines')
  define(
    'console <instance>',
    'where a display or the serial port of an instance is reached, for a proxy',
    async (options, [word]) => (await load()).consoleAddress(word as string, options),
  ).addOption(new Option('--type <type>', 'of which kind').choices(CONSOLE_PROTOCOLS).default('vnc'))
}
