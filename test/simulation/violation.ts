/** Something that must never happen has happened. */
export class Violation extends Error {
  override readonly name = 'Violation'
}

export function must(holds: boolean, otherwise: () => string): asserts holds {
  if (!holds) throw new Violation(otherwise())
}
