/** Comparisons that an extra spec may begin with, and what they mean: Nova's `extra_specs_ops`. */
const OF_NUMBERS: Readonly<Record<string, (value: number, asked: number) => boolean>> = {
  // Nova's `=` means at least, for the sake of old flavors.
  '=': (value, asked) => value >= asked,
  '==': (value, asked) => value === asked,
  '!=': (value, asked) => value !== asked,
  '>=': (value, asked) => value >= asked,
  '<=': (value, asked) => value <= asked,
}
const OF_TEXTS: Readonly<Record<string, (value: string, asked: string) => boolean>> = {
  's==': (value, asked) => value === asked,
  's!=': (value, asked) => value !== asked,
  's<': (value, asked) => value < asked,
  's<=': (value, asked) => value <= asked,
  's>': (value, asked) => value > asked,
  's>=': (value, asked) => value >= asked,
}

/** Does a value satisfy an extra spec: equal to it, or as its operator says? */
export function satisfies(value: string, asked: string): boolean {
  const [operator = '', ...operands] = asked.trim().split(/\s+/)
  const [operand = ''] = operands
  if (operator === '<or>') return alternatives(asked).includes(value)
  if (operator === '<in>') return value.includes(operand)
  if (operator === '<all-in>') return operands.every((each) => value.includes(each))
  const ofNumbers = Object.hasOwn(OF_NUMBERS, operator) ? OF_NUMBERS[operator] : undefined
  if (ofNumbers !== undefined) return ofNumbers(numberOf(value), numberOf(operand))
  const ofTexts = Object.hasOwn(OF_TEXTS, operator) ? OF_TEXTS[operator] : undefined
  return ofTexts === undefined ? value === asked : ofTexts(value, operand)
}

/** `<or> a <or> b` */
function alternatives(asked: string): readonly string[] {
  return asked.split('<or>').map((word) => word.trim())
}

/** What is no number is equal to none, and neither more nor less than any. */
function numberOf(text: string): number {
  return text.trim() === '' ? Number.NaN : Number(text)
}
