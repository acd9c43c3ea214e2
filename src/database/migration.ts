/** One step of the schema. Once released it is never edited: a later step changes what it made. */
export interface Migration {
  /** `0001-outbox`: unique, and applied in the order given. */
  readonly id: string
  readonly sql: string
}
