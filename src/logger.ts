import { destination, type Logger, pino } from 'pino'

/** Whose values never reach a log, whatever they are part of: `_context_auth_token`, `databaseUrl`. */
const SECRET_NAME = /password|passwd|secret|token|session|dhcert|url|connectionstring/i
/** User and password of a URL, to the last `@`: passwords may have one, and URLs more than one host. */
const URL_CREDENTIALS = /(:\/\/)[^\s/@:]*:\S*@/g

/**
 * JSON lines on standard error, one per fact. Standard output belongs to the command's result. Secrets are cut out of
 * the finished line, so that no depth, message or stack lets one through.
 *
 * @param name the worker: `conductor`, `compute`
 */
export function createLogger(name: string, level: string, file = 2): Logger {
  const out = destination({ fd: file, sync: true })
  return pino({ name, level }, { write: (line: string) => void out.write(withoutSecrets(line)) })
}

function withoutSecrets(line: string): string {
  if (!SECRET_NAME.test(line) && !line.includes('://')) return line
  return `${JSON.stringify(JSON.parse(line, hideSecret))}\n`
}

function hideSecret(key: string, value: unknown): unknown {
  const holdsText = typeof value === 'string' || (typeof value === 'object' && value !== null)
  if (holdsText && SECRET_NAME.test(key)) return '[secret]'
  return typeof value === 'string' ? value.replace(URL_CREDENTIALS, '$1[secret]@') : value
}
