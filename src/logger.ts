import { destination, type Logger, pino } from 'pino'

/** `"…password…":"value"` at any depth of a finished line, and user and password in a URL, wherever it stands. */
const SECRET_VALUE =
  /("[^"]*(?:password|passwd|secret|token|session|dhcert|url|connectionstring)[^"]*":)"(?:[^"\\]|\\.)*"/gi
const URL_CREDENTIALS = /(:\/\/)[^\s"/@]*:[^\s"@]*@/g

/**
 * JSON lines on standard error, one per fact. Standard output belongs to the command's result. Secrets are cut out of
 * the finished line, so that no depth, message or stack lets one through.
 *
 * @param name the worker: `conductor`, `compute`
 */
export function createLogger(name: string, level: string, file = 2): Logger {
  const out = destination({ fd: file, sync: true })
  const write = (line: string) => {
    out.write(line.replace(SECRET_VALUE, '$1"[secret]"').replace(URL_CREDENTIALS, '$1[secret]@'))
  }
  return pino({ name, level }, { write })
}
