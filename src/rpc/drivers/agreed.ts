import { InvalidConfiguration } from '../../errors.ts'

/** What is said in both places must be the same; a file's name is not repeated, for it may be a misplaced password. */
export function agreed<T extends string | number | boolean>(
  key: string,
  configured: T | undefined,
  option: string,
  said: T | undefined,
): T | undefined {
  if (configured !== undefined && said !== undefined && configured !== said) {
    throw contradiction(
      `transport.${key} and the option ${option} in the URL of the broker differ`,
      'leave one of the two out',
    )
  }
  return configured ?? said
}

/** @returns the error that names both sides */
export function contradiction(problem: string, fix: string): InvalidConfiguration {
  return new InvalidConfiguration(`${problem}; ${fix}`, { problems: [problem], fix })
}
