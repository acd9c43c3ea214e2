/** How far it is with the notifications of one instance. */
export interface Position {
  readonly sequence: number
  /** Of the notification that had the number, to see that it is no other's since; null: of none that is known. */
  readonly message_id: string | null
}

/** Where a consumer keeps how far it is with each instance. */
export interface Positions {
  /** Of what was handled last, of those instances of which something was. */
  read(instances: readonly string[]): Promise<ReadonlyMap<string, Position>>
  /** Resolves when it will outlast a crash. A lower one than before counts, too: numbers begin again where a database is restored. */
  write(positions: ReadonlyMap<string, Position>): Promise<void>
}

/** Before anything was told. */
export const BEGINNING: Position = { sequence: 0, message_id: null }

/**
 * What was told last of each of these instances, by those who tell; nothing of those of which nothing was. Undefined: they are of a
 * release that does not say.
 */
export type LastTold = (instances: readonly string[]) => Promise<ReadonlyMap<string, Position> | undefined>
