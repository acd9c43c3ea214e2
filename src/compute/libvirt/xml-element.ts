/** xmlbuilder2's form of an element: `@name` is an attribute, `#` the text; undefined members are left out. */
export type Element = { readonly [name: string]: unknown }

export function withoutUndefined(element: Element): Element {
  const kept: Record<string, unknown> = {}
  for (const name in element) if (element[name] !== undefined) kept[name] = element[name]
  return kept
}
