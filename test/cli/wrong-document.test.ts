import { expect, it } from 'vitest'
import { z } from 'zod'
import { describeProblems } from '../../src/cli/wrong-document.ts'

const Flavor = z.strictObject({
  name: z.string(),
  vcpus: z.int().min(1),
  extra_specs: z.record(z.string(), z.string()).default({}),
})

it.each([
  [{ name: 'a', vcpus: 0 }, 'vcpus is 0: Too small: expected number to be >=1'],
  [{ name: 'a', vcpus: 'many' }, 'vcpus is "many": Invalid input: expected number, received string'],
  [{ name: 'a' }, 'vcpus is missing: Invalid input: expected number, received undefined'],
  [
    { name: 'a', vcpus: 1, extra_specs: { 'hw:numa': [1, 2] } },
    'extra_specs.hw:numa is [1,2]: Invalid input: expected string, received array',
  ],
  [{ name: 'a', vcpus: 1, colour: 'blue' }, 'Unrecognized key: "colour"'],
  [[], 'it is []: Invalid input: expected object, received array'],
  [
    { name: ['x'.repeat(100)], vcpus: 1 },
    `name is ["${'x'.repeat(58)}…: Invalid input: expected string, received array`,
  ],
])('%j is told as %s', (document, told) => {
  expect(describeProblems(Flavor.safeParse(document).error as z.ZodError, document)).toBe(told)
})
