import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { onPath } from '../../src/servers/programs.ts'
import { DEBIAN_PACKAGES, type Installable } from './find-servers.ts'

/**
 * One installation, with no server started by it: `policy-rc.d` refuses that while it runs, and is put back as it was.
 * In a session of its own and with its own trap, because an interrupted dpkg, or a policy left behind, would be the
 * machine's trouble long after the tests'.
 */
const SCRIPT = `
set -eu
policy=/usr/sbin/policy-rc.d
kept=$(mktemp -d)
if [ -e "$policy" ]; then cp -a "$policy" "$kept/policy-rc.d"; fi
restore() {
  rm -f "$policy"
  if [ -e "$kept/policy-rc.d" ]; then cp -a "$kept/policy-rc.d" "$policy"; fi
  rm -rf "$kept"
}
trap restore EXIT
trap 'exit 1' INT TERM HUP
printf '#!/bin/sh\\nexit 101\\n' > "$policy.new"
chmod 755 "$policy.new"
mv -f "$policy.new" "$policy"
export DEBIAN_FRONTEND=noninteractive
apt-get --quiet --quiet --option DPkg::Lock::Timeout=300 update
apt-get --quiet --quiet --yes --option DPkg::Lock::Timeout=300 --option Dpkg::Use-Pty=0 \\
  install --no-install-recommends "$@"
`

/** True for root on Debian or Ubuntu, unless `SEVBUS_TEST_NO_INSTALL` is set. */
export async function mayInstall(): Promise<boolean> {
  const forbidden = process.env.SEVBUS_TEST_NO_INSTALL
  if (forbidden !== undefined && forbidden !== '' && forbidden !== '0') return false
  return process.getuid?.() === 0 && (await onPath('apt-get')) !== undefined && (await onPath('dpkg')) !== undefined
}

/** @throws when apt-get fails, with the last lines of what it printed */
export async function installPackages(kinds: readonly Installable[], tell?: (line: string) => void): Promise<void> {
  const packages = kinds.flatMap((kind) => DEBIAN_PACKAGES[kind])
  tell?.(`installing ${packages.join(' and ')} with apt-get, once (SEVBUS_TEST_NO_INSTALL=1 forbids it)`)
  const shell = spawn('sh', ['-c', SCRIPT, 'sevbus-install', ...packages], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [shell.stdout, shell.stderr]) stream.on('data', (chunk) => (output += String(chunk)))
  const [code] = await once(shell, 'close')
  if (code !== 0) throw new Error(`apt-get could not install ${packages.join(' ')}\n${lastLines(output)}`)
}

function lastLines(text: string): string {
  return text.trimEnd().split('\n').slice(-20).join('\n')
}
