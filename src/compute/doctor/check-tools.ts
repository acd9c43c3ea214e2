import { packageOf } from '../run-tool.ts'
import type { Examination } from './examination.ts'
import { type Finding, fail, pass, warn } from './finding.ts'

const TOOLS = { check: 'disk_tools', title: 'programs for disks' }

/** The worker makes disks by programs of its machine. */
export function checkTools({ host: { tools } }: Examination): Finding {
  const missing = tools.filter(({ isThere }) => !isThere)
  if (missing.length === 0) return pass(TOOLS, 'all there', 'qemu-img and those that make file systems')
  const value = `no ${missing.map(({ anyOf }) => anyOf.join(' or ')).join(', no ')}`
  const uses = [...new Set(missing.map(({ use }) => use))].join(', ')
  const fix = `install ${[...new Set(missing.map(({ anyOf: [tool] }) => packageOf(tool)))].join(', ')}`
  return missing.some(({ isVital }) => isVital)
    ? fail(TOOLS, value, `for ${uses}: guests get no disks`, fix)
    : warn(TOOLS, value, `for ${uses}: guests that ask for these fail`, fix)
}
