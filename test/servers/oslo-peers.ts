import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** The distribution's own: packages of Debian are for this one, whatever other Python comes first on PATH. */
export const DISTRIBUTION_PYTHON = '/usr/bin/python3'

/** Nothing of the user's: neither PYTHON* variables nor packages in the home folder; and it leaves no caches behind. */
export const PYTHON_FLAGS = ['-E', '-s', '-B'] as const

/** Looks for the module and does not import it: that takes a second, before every run. */
const PROGRAM = `
from importlib import metadata, util
assert util.find_spec('oslo_messaging')
print('oslo.messaging ' + metadata.version('oslo.messaging'), end='')
`

/** `oslo.messaging 14.0.3 (/usr/bin/python3)`; undefined where the Python peers of the tests cannot run. */
export async function describeOsloPeers(): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(DISTRIBUTION_PYTHON, [...PYTHON_FLAGS, '-c', PROGRAM])
    return `${stdout} (${DISTRIBUTION_PYTHON})`
  } catch {
    return undefined
  }
}
