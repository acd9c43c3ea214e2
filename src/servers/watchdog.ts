import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Writable } from 'node:stream'

/**
 * Reads one line per thing to end, then waits. `done` says that all was ended in good order; an input that ends without
 * it says that the writer died (SIGKILL, a crash), and the script ends everything in its place.
 * A shell and not a Node program: it costs next to nothing, and is the same from sources and from `dist`.
 */
const SCRIPT = `
folder=$1 pairs= labels=
while read -r what one two; do
  case $what in
    group) pairs="$one:$two $pairs" ;;
    label) labels="$labels $one" ;;
    done) exit 0 ;;
  esac
done
for pair in $pairs; do
  group=\${pair%:*}
  kill -s "\${pair#*:}" -- "-$group"
  tenths=0
  while kill -s 0 -- "-$group" && [ $tenths -lt 50 ]; do sleep 0.1; tenths=$((tenths + 1)); done
  kill -s KILL -- "-$group"
done
for round in 1 2; do
  for label in $labels; do
    containers=$(docker ps --all --quiet --filter "label=$label")
    [ -z "$containers" ] || docker rm --force --volumes $containers
  done
  [ -z "$labels" ] || sleep 2 # the engine may still be making what the writer asked for
done
[ -n "$folder" ] || exit 0
for second in 1 2 3 4 5; do
  rm -rf -- "$folder" && break
  sleep 1 # what else the writer has started may still be writing there
done
`

/** Ends the processes and containers that it was told of when this process is no longer there to do it. */
export interface Watchdog {
  /** `signal` is what makes the group's leader end quickly and tidily; SIGKILL follows five seconds later. */
  watchGroup(processGroup: number, signal: NodeJS.Signals): void
  /** Every container with this label (`name=value`, no blanks), also one that is only being made. */
  watchContainers(label: string): void
  /** All that was watched has ended: nothing left to do. */
  dismiss(): Promise<void>
}

/** @param folder removed, with all that is in it, when the watchdog has to act; empty: none */
export function startWatchdog(folder = ''): Watchdog {
  // In a session of its own: Ctrl-C in a terminal goes to every process of the foreground group.
  const shell = spawn('sh', ['-c', SCRIPT, 'sevbus-watchdog', folder], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const exited = once(shell, 'exit')
  const pipe: Writable & { unref?: () => void } = shell.stdin
  pipe.on('error', () => undefined) // the shell was killed: there is nobody left to tell
  shell.unref()
  pipe.unref?.()

  return {
    watchGroup: (processGroup, signal) => void pipe.write(`group ${processGroup} ${signal.slice('SIG'.length)}\n`),
    watchContainers: (label) => void pipe.write(`label ${label}\n`),
    async dismiss() {
      shell.ref()
      pipe.end('done\n')
      await exited
    },
  }
}
