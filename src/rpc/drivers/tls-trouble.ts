import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { connect, type PeerCertificate } from 'node:tls'
import type { TlsFiles } from './broker-settings.ts'
import type { BrokerHost } from './transport-url.ts'

/** For a second look at a certificate that was refused. */
const LOOK_TIMEOUT_MS = 3_000

const UNTRUSTED = [
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]
const OUT_OF_DATE = ['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']
const WRONG_NAME = 'ERR_TLS_CERT_ALTNAME_INVALID'
const NOT_TLS = 'ERR_SSL_WRONG_VERSION_NUMBER'
/** TLS 1.3's way to demand a certificate of ours, and that of earlier versions. */
const NONE_SHOWN = ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE']

/**
 * What went wrong with TLS, in words: whose certificate, which name, what to change.
 * @returns undefined when it was nothing of TLS
 */
export async function describeTlsTrouble(
  error: NodeJS.ErrnoException,
  host: BrokerHost,
  files: TlsFiles,
): Promise<string | undefined> {
  const { code = '' } = error
  if (code === WRONG_NAME) return wrongName((error as { cert?: PeerCertificate }).cert, host)
  if (code === NOT_TLS) return 'it does not speak TLS on this port; mostly that is 5671'
  if (UNTRUSTED.includes(code)) {
    const trusted = files.caFile ?? 'the list of authorities that Node has'
    const fix = 'put the certificate of that authority into transport.ca_file (ssl_ca_file)'
    return `${await shown(host)} is signed by none of ${trusted} (${code}); ${fix}`
  }
  if (OUT_OF_DATE.includes(code)) {
    return `${await shown(host)} is out of date (${code}); renew it at the broker, or set the clock right`
  }
  const isShown = files.certFile !== undefined
  if (!isShown && NONE_SHOWN.includes(code)) return DEMANDED
  if (/_ALERT_/.test(code)) return await refusedByBroker(error, files)
  // The alert can be overtaken by the end of the connection.
  return !isShown && isCutOff(error) ? `${error.message}; perhaps ${DEMANDED}` : undefined
}

const DEMANDED =
  'the broker demands a certificate of ours; set transport.cert_file and transport.key_file (ssl_cert_file, ssl_key_file)'

/** The other side went away in the middle of the handshake. */
export function isCutOff({ code, message }: NodeJS.ErrnoException): boolean {
  return code === 'ECONNRESET' || code === 'EPIPE' || message.startsWith('Socket closed abruptly')
}

function wrongName(cert: PeerCertificate | undefined, { hostname }: BrokerHost): string {
  const names = cert?.subjectaltname ?? `CN=${cert?.subject?.CN}`
  return [
    `its certificate is for ${names}, and not for ${hostname}`,
    `name the host in the URL as the certificate does, or give the broker one for ${hostname}`,
    'transport.verify_hostname = false (ssl_enforce_hostname_verification=0) takes that of any host',
  ].join('; ')
}

async function refusedByBroker(error: NodeJS.ErrnoException, { certFile }: TlsFiles): Promise<string> {
  const alert = (error as { reason?: string }).reason ?? error.message
  if (certFile === undefined) return `the broker ended the handshake (${alert})`
  const cert = new X509Certificate(await readFile(certFile))
  const dates = `valid from ${cert.validFrom} to ${cert.validTo}`
  return `the broker refuses our certificate ${certFile} (${alert}): ${oneLine(cert.subject)}, signed by ${oneLine(cert.issuer)}, ${dates}`
}

/** Looks at the certificate of a host, without believing it: what is refused is not told with the refusal. */
async function shown(host: BrokerHost): Promise<string> {
  const cert = await certificateOf(host)
  if (cert?.subject === undefined) return 'its certificate'
  const { subject, issuer, valid_from, valid_to } = cert
  return `its certificate (CN=${subject.CN}, signed by CN=${issuer.CN}, valid from ${valid_from} to ${valid_to})`
}

function certificateOf({ hostname, port }: BrokerHost): Promise<PeerCertificate | undefined> {
  const servername = isIP(hostname) ? {} : { servername: hostname }
  // Nothing is said over this connection.
  const socket = connect({ host: hostname, port, rejectUnauthorized: false, ...servername })
  return new Promise((resolve) => {
    const end = (certificate?: PeerCertificate) => {
      socket.destroy()
      resolve(certificate)
    }
    socket.setTimeout(LOOK_TIMEOUT_MS, () => end())
    socket.on('error', () => end())
    socket.on('close', () => end())
    socket.on('secureConnect', () => end(socket.getPeerCertificate()))
  })
}

function oneLine(name: string): string {
  return name.replaceAll('\n', ', ')
}
