import type { Command } from 'commander'
import { InvalidArguments } from '../errors.ts'

/**
 * `sevbus help host set`, `sevbus host help set`: what a command takes, at whatever depth it is. Commander shows all of its help
 * for one that is not there, and not what is wrong.
 */
export function defineHelp(parent: Command): void {
  for (const group of parent.commands.filter(({ commands }) => commands.length > 0)) defineHelp(group)
  parent.helpCommand(false)
  parent
    .command('help [command...]')
    .description('what a command takes, with examples')
    .exitOverride()
    .action((words: readonly string[]) => named(parent, words).help())
}

/** @throws InvalidArguments */
function named(parent: Command, words: readonly string[]): Command {
  let found = parent
  for (const word of words) {
    const next = found.commands.find((each) => each.name() === word)
    if (next === undefined) throw notThere(found, word)
    found = next
  }
  return found
}

function notThere(parent: Command, word: string): InvalidArguments {
  const path = pathOf(parent)
  const fix = `see them all with: ${path} --help`
  return new InvalidArguments(
    `there is no command ${[...path.split(' ').slice(1), word].join(' ')} to help with; ${fix}`,
    {
      field: '<command>',
      value: word,
      fix,
    },
  )
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`
}
