import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { type ConnectionOptions, createSecureContext } from 'node:tls'
import { InvalidConfiguration } from '../../errors.ts'
import type { TlsFiles } from './broker-settings.ts'

/** The files by their keys in our configuration, and as oslo.messaging calls them. */
const KEYS = {
  caFile: 'transport.ca_file (ssl_ca_file)',
  certFile: 'transport.cert_file (ssl_cert_file)',
  keyFile: 'transport.key_file (ssl_key_file)',
  keyPassphraseFile: 'transport.key_passphrase_file',
} as const

/**
 * Reads the files for one connection; the next one reads them anew, for certificates are replaced while we run.
 *
 * @throws InvalidConfiguration naming the file and what is wrong with it
 */
export async function tlsOptions(
  files: TlsFiles,
): Promise<Pick<ConnectionOptions, 'secureContext' | 'checkServerIdentity'>> {
  const [ca, cert, key, secret] = await Promise.all([
    contentOf(files, 'caFile'),
    contentOf(files, 'certFile'),
    contentOf(files, 'keyFile'),
    contentOf(files, 'keyPassphraseFile'),
  ])
  const passphrase = secret?.toString().trimEnd()
  if (ca !== undefined) certificateIn(files, 'caFile', ca)
  if (cert !== undefined && key !== undefined) checkPair(files, cert, keyIn(files, key, passphrase))
  return {
    secureContext: createSecureContext({
      ...(ca && { ca }),
      ...(cert && key && { cert, key }),
      ...(passphrase !== undefined && { passphrase }),
    }),
    // The chain is checked all the same.
    ...(!files.verifyHostname && { checkServerIdentity: () => undefined }),
  }
}

async function contentOf(files: TlsFiles, name: keyof typeof KEYS): Promise<Buffer | undefined> {
  const file = files[name]
  if (file === undefined) return undefined
  try {
    return await readFile(file)
  } catch (error) {
    const { code = 'unreadable' } = error as NodeJS.ErrnoException
    throw wrongFile(files, name, `cannot be read (${code})`, 'name a file that this process may read')
  }
}

function certificateIn(files: TlsFiles, name: 'caFile' | 'certFile', pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch {
    throw wrongFile(files, name, 'holds no certificate', 'give it in PEM (-----BEGIN CERTIFICATE-----)')
  }
}

function checkPair(files: TlsFiles, cert: Buffer, key: KeyObject): void {
  if (certificateIn(files, 'certFile', cert).checkPrivateKey(key)) return
  throw wrongFile(files, 'keyFile', `is not the key of ${files.certFile}`, 'give the two that were made together')
}

function keyIn(files: TlsFiles, pem: Buffer, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey({ key: pem, ...(passphrase !== undefined && { passphrase }) })
  } catch {
    if (!pem.includes('ENCRYPTED')) throw wrongFile(files, 'keyFile', 'holds no key', 'give it in PEM')
    const problem = passphrase === undefined ? 'is encrypted' : 'is encrypted with another passphrase'
    throw wrongFile(files, 'keyFile', problem, 'give the passphrase in transport.key_passphrase_file')
  }
}

function wrongFile(files: TlsFiles, name: keyof typeof KEYS, problem: string, fix: string): InvalidConfiguration {
  const what = `${KEYS[name]}: ${files[name]} ${problem}`
  return new InvalidConfiguration(`${what}; ${fix}`, { problems: [what], file: files[name], fix })
}
