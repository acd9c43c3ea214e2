import type { Command } from 'commander'

export type Run = (options: never, words: readonly string[]) => Promise<number>
/** Adds a command: `name <arguments>`, what it is for, what it runs. */
export type Define = (name: string, summary: string, run: Run) => Command

/** An option that may be repeated, and does not take the words after its value as more of them. */
export function gathered(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}
