import { destination, type Logger, pino } from 'pino'

/** Keys whose values never reach a log, at the top and one level down. */
const SECRET_NAMES = [
  'password',
  'secret',
  'token',
  'auth_token',
  'session',
  'dhCert',
  'launchSecret',
  'url',
  'amqpUrl',
]

/**
 * JSON lines on standard error, one per fact. Standard output belongs to the command's result.
 * @param name the worker: `conductor`, `compute`
 */
export function createLogger(name: string, level: string, file?: number): Logger {
  const paths = SECRET_NAMES.flatMap((key) => [key, `*.${key}`, `*.*.${key}`])
  return pino({ name, level, redact: { paths, censor: '[secret]' } }, destination({ fd: file ?? 2, sync: true }))
}
