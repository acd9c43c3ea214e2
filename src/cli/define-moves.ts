import type { Define } from './define.ts'

/** What brings instances to another host, size or image. */
export function defineMoves(define: Define): void {
  const load = () => import('./resize.ts')
  define('evacuate <instance>', 'rebuild an instance elsewhere whose host is dead', async (options, [word]) =>
    (await import('./evacuate.ts')).evacuate(word as string, options),
  )
    .option('--host <host>', 'only there')
    .option('--wait', 'until it runs there, or is where it was', false)
  define('resize <instance>', 'give an instance another flavor, on another host', async (options, [word]) =>
    (await load()).resize(word as string, options),
  )
    .requiredOption('--flavor <name or file>', 'the flavor that it is to have: of the catalogue, or a JSON file')
    .option('--host <host>', 'only there')
    .option('--wait', 'until it is resized, or is what it was', false)
  define('migrate <instance>', 'bring an instance with its disks to another host', async (options, [word]) =>
    (await load()).migrate(word as string, options),
  )
    .option('--host <host>', 'only there')
    .option('--wait', 'until it is there, or is where it was', false)
  define('live-migrate <instance>', 'bring an instance to another host as it runs', async (options, [word]) =>
    (await load()).liveMigrate(word as string, options),
  )
    .option('--host <host>', 'only there')
    .option('--wait', 'until it runs there, or stays where it is', false)
  define('live-migration-abort <instance>', 'let an instance stay where it is', async (options, [word]) =>
    (await load()).abortLiveMigration(word as string, options),
  ).option('--wait', 'until it rests there', false)
  define('live-migration-force-complete <instance>', 'have a live migration end', async (options, [word]) =>
    (await load()).forceCompleteLiveMigration(word as string, options),
  ).option('--wait', 'until it runs at the other host', false)
  define('resize-confirm <instance>', 'let a resized or migrated instance stay where it is', async (options, [word]) =>
    (await load()).confirmResize(word as string, options),
  ).option('--wait', 'until what it had before is gone, and free', false)
  define('resize-revert <instance>', 'bring a resized or migrated instance back', async (options, [word]) =>
    (await load()).revertResize(word as string, options),
  ).option('--wait', 'until it is what it was', false)
  define('rebuild <instance>', 'make an instance anew from an image, on its host', async (options, [word]) =>
    (await import('./rebuild.ts')).rebuild(word as string, options),
  )
    .requiredOption('--image <name or file>', 'what it is to begin as: of the catalogue, or a JSON file')
    .option(
      '--lose-encryption',
      'let it run with less encryption than it has, or none, where the image asks for no more',
      false,
    )
    .option('--wait', 'until it is made, or has failed', false)
}
