import { Command, CommanderError, Option } from 'commander'
import { toSevbusError } from '../errors.ts'
import { MemEncryptionModel } from '../objects/mem-encryption.ts'
import type { BootOptions } from './boot.ts'
import { type Define, gathered } from './define.ts'
import { defineActions, defineConsoles } from './define-actions.ts'
import { defineBill } from './define-bill.ts'
import { defineBroker } from './define-broker.ts'
import { defineAggregate, defineGroup, defineHost } from './define-hosts.ts'
import { defineMoves } from './define-moves.ts'
import { EXIT, exitCodeFor } from './exit-codes.ts'
import { EXAMPLES, EXIT_CODES_HELP } from './help.ts'
import { defineHelp } from './help-command.ts'
import { printError } from './output.ts'
import type { GlobalOptions } from './session.ts'
import { VERSION } from './version.ts'

type Example = keyof typeof EXAMPLES

/**
 * The command line. Commands are loaded when they are asked for, so that `sevbus --help` needs no database.
 * @returns the exit code
 */
export async function runProgram(argv: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.OK
  const program = new Command('sevbus')
    .description('Control-plane workers that boot memory-encrypted virtual machines over RabbitMQ.')
    .version(VERSION)
    .option('--config <file>', 'TOML file; else SEVBUS_CONFIG, ./sevbus.toml, or a running `sevbus dev` of this folder')
    .option('--json', 'one JSON document on standard output, for programs', false)
    .option('--debug', 'stack traces and debug logs', false)
    .option('--timeout <seconds>', 'longest wait for the broker and for each answer', '10')
    .addHelpText('after', `${EXAMPLES.sevbus}\n${EXIT_CODES_HELP}`)
    .showHelpAfterError('(add --help for what it takes, with examples)')
    .exitOverride()

  const defineIn =
    (parent: Command): Define =>
    (name, summary, run) =>
      parent
        .command(name)
        .description(summary)
        .addHelpText('after', EXAMPLES[(parent === program ? name.split(' ')[0] : parent.name()) as Example] ?? '')
        .exitOverride()
        .action(async (...args: unknown[]) => {
          const command = args.at(-1) as Command
          exitCode = await run(command.optsWithGlobals() as never, command.args)
        })
  const define = defineIn(program)

  defineTrying(define)
  defineWorkers(define)
  defineOperating(define)
  defineActions(define)
  defineConsoles(define)
  definePlanning(define)
  const group = (name: Example, summary: string) =>
    defineIn(program.command(name).description(summary).exitOverride().addHelpText('after', EXAMPLES[name]))
  defineHost(group('host', 'one host: look at it, disable it, force it down'))
  defineAggregate(group('aggregate', 'sets of hosts with metadata: zones, and who may use them'))
  defineGroup(group('group', 'server groups: instances that are to run together, or apart'))
  defineDeadLetters(group('dead-letters', 'messages that nobody could handle'))
  defineBill(group('bill', 'usage and what it costs, out of the notifications'))
  defineBroker(group('broker', 'what the operator of the broker sets there'))
  const db = program.command('db').description('the database').exitOverride()
  db.command('migrate')
    .description('make or update the tables; all steps or none, safe to run at every start')
    .addHelpText('after', EXAMPLES.db)
    .action(async (_options, command: Command) => {
      exitCode = await (await import('./db.ts')).dbMigrate(command.optsWithGlobals<GlobalOptions>())
    })

  defineHelp(program)
  try {
    await program.parseAsync([...argv])
    return exitCode
  } catch (thrown) {
    // Help and version arrive here too; what was wrong with the words has been printed.
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.OK : EXIT.USAGE
    printError(thrown, { json: argv.includes('--json'), debug: argv.includes('--debug') })
    return exitCodeFor(toSevbusError(thrown))
  }
}

function defineTrying(define: Define): void {
  define('demo', 'watch encrypted instances boot on simulated hosts: needs nothing but Node', async (options) =>
    (await import('./demo/demo.ts')).demo(options),
  )
  define(
    'dev',
    'run all workers with simulated hosts until stopped, for the other commands to talk to',
    async (options) => (await import('./dev.ts')).dev(options),
  )
    .option('--folder <folder>', 'where everything is kept', '.sevbus/dev')
    .option('--amqp-url <url>', 'a RabbitMQ to use; else one found running, or started privately')
}

function defineWorkers(define: Define): void {
  const services = {
    conductor: 'run a conductor: looks after instances (needs RabbitMQ and PostgreSQL)',
    scheduler: 'run a scheduler: finds hosts and claims slots (needs RabbitMQ and PostgreSQL)',
    compute: 'run a compute worker: boots guests on its host (needs RabbitMQ)',
  } as const
  for (const service of ['conductor', 'scheduler', 'compute'] as const) {
    define(service, services[service], async (options) => {
      // Before it loads what it works with, which would make it large.
      const { collectByOneThread, holdYoungGeneration } = await import('../compose/young-generation.ts')
      collectByOneThread()
      if (service === 'compute') holdYoungGeneration()
      return (await import('./work.ts')).work(service, options)
    }).option('--host <name>', "the worker's name on the bus")
  }
}

function defineOperating(define: Define): void {
  define('boot <name>', 'boot instances and wait until they are ACTIVE or ERROR', async (options, [name]) =>
    (await import('./boot.ts')).boot(name as string, options as BootOptions),
  )
    .requiredOption('--flavor <flavor>', 'a name of the catalogue, or a JSON file')
    .requiredOption('--image <image>', 'a name of the catalogue, or a JSON file')
    .option('--count <n>', 'how many', '1')
    .option('--all-or-nothing', 'hosts for all of them, or for none', false)
    .option('--availability-zone <zone>', 'only on hosts of this zone')
    .option(
      '--hint <key=value>',
      'group=GROUP, same_host=INSTANCE or different_host=INSTANCE; may be repeated',
      gathered,
    )
    .option('--config-drive', 'give them a drive that cloud-init reads', false)
    .option('--user-data <file>', 'for cloud-init at first boot, on that drive')
    .option('--no-wait', 'return as soon as they are accepted')
  define('list', 'instances', async (options) => (await import('./instances.ts')).list(options))
    .option('--host <host>', 'only those on this host')
    .addOption(
      new Option('--state <state>', 'only those in this state; deleted ones are shown only so').choices([
        'building',
        'active',
        'paused',
        'suspended',
        'stopped',
        'rescued',
        'resized',
        'shelved',
        'shelved_offloaded',
        'error',
        'deleted',
      ]),
    )
  define('show <instance>', 'one instance, by uuid or name', async (options, [word]) =>
    (await import('./instances.ts')).show(word as string, options),
  ).option('--xml', 'the libvirt domain document, as its host has it', false)
  define('delete <instances...>', 'delete instances, by uuid or name', async (options, words) =>
    (await import('./instances.ts')).remove(words, options),
  )
  defineMoves(define)
  define('hosts', 'hosts and the use of their encryption slots', async (options) =>
    (await import('./hosts.ts')).hosts(options),
  )
  define('explain <instance>', 'why an instance is where it is, or why it found no host', async (options, [word]) =>
    (await import('./instances.ts')).explain(word as string, options),
  )
  define(
    'audit',
    'claims, instances, guests and keys that do not agree; --repair mends what is safe',
    async (options) => (await import('./audit.ts')).audit(options),
  )
    .option('--repair', 'mend what is safe to mend; without it nothing is changed', false)
    .option('--host <host...>', 'only these hosts')
    .option('--settle <seconds>', 'between the two looks: what is not so in both is no finding', '3')
  define('events', 'follow the notifications as billing sees them', async (options) =>
    (await import('./events.ts')).events(options),
  )
}

/** What needs no broker and no database: flavors, images and hosts on paper. */
function definePlanning(define: Define): void {
  const withRequest = (command: Command) =>
    command
      .requiredOption('--flavor <flavor>', 'a name of the catalogue, or a JSON file')
      .requiredOption('--image <image>', 'a name of the catalogue, or a JSON file')
      .option('--host <file>', 'a host, as host-capabilities writes it')
  withRequest(
    define('lint', 'what a boot would ask for, what would be refused, and the fix: asks nobody', async (options) =>
      (await import('./lint.ts')).lint(options),
    ),
  )
  withRequest(
    define('xml', 'the libvirt domain document that a boot would make: asks nobody', async (options) =>
      (await import('./xml.ts')).xml(options),
    ),
  )
    .option('--name <name>', "the instance's name", 'draft')
    .option('--uuid <uuid>', "the instance's uuid; else always the same, so that documents can be compared")
    .option('--mac <mac...>', 'an interface with this address; several may be given')
    .option('--network <network>', "libvirt's network for the interfaces")
  define('host-capabilities', 'what the host of the configuration can do, as JSON for lint and xml', async (options) =>
    (await import('./host-capabilities.ts')).hostCapabilities(options),
  ).option('--host <name>', 'how the host is called')
  define(
    'doctor',
    'is this host fit for encrypted guests? every check from BIOS to worker, with the fix',
    async (options) => (await import('./doctor.ts')).doctor(options),
  )
    .option('--host <name>', 'how the host is called')
    .addOption(
      new Option(
        '--driver <driver>',
        'libvirt: this machine, fake: the simulated host of [fake]; else as configured',
      ).choices(['libvirt', 'fake']),
    )
    .addOption(
      new Option(
        '--model <model...>',
        'models that the host must offer: what one of them lacks is a failure then',
      ).choices(MemEncryptionModel.options),
    )
}

function defineDeadLetters(define: Define): void {
  const load = () => import('./dead-letters.ts')
  define('list', 'what is parked, and why', async (options) => (await load()).listDeadLetters(options)).option(
    '--limit <n>',
    'at most so many, oldest first',
    '100',
  )
  define('show <id>', 'one of them, with its message', async (options, [id]) =>
    (await load()).showDeadLetter(id as string, options),
  )
  define('replay [ids...]', 'send them once more to the queues they came from', async (options, ids) =>
    (await load()).replayDeadLetters(ids, options),
  )
    .option('--all', 'all of them')
    .option('--code <code>', 'of these, only those with this error code')
  define('purge [ids...]', 'throw them away', async (options, ids) => (await load()).purgeDeadLetters(ids, options))
    .option('--all', 'all of them')
    .option('--code <code>', 'of these, only those with this error code')
    .option('--yes', 'they are gone for good: this says that you know')
}
