import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { isIP } from 'node:net'

const DAY_MS = 86_400_000

/** A certificate and its key, in PEM. */
export interface Identity {
  readonly certificate: string
  readonly key: string
}

export interface Wanted {
  /** Common name: of a host, or of a user of the broker. */
  readonly name: string
  /** DNS names and IPv4 addresses that it is for. */
  readonly hosts?: readonly string[]
  readonly validFrom?: Date
  readonly validTo?: Date
  /** Encrypts the key. */
  readonly passphrase?: string
}

/** A certificate authority of one test: X.509 by Node's own cryptography, so that no program is needed. */
export class Authority {
  readonly name: string
  readonly certificate: string
  readonly #keys = newKeys()

  constructor(name: string) {
    this.name = name
    this.certificate = this.#certificate({ name }, this.#keys.publicKey, [IS_AUTHORITY])
  }

  issue(wanted: Wanted): Identity {
    const { publicKey, privateKey } = newKeys()
    const certificate = this.#certificate(wanted, publicKey, [FOR_BOTH_SIDES, ...forHosts(wanted.hosts ?? [])])
    return { certificate, key: pemOfKey(privateKey, wanted.passphrase) }
  }

  #certificate(wanted: Wanted, publicKey: KeyObject, extensions: readonly Buffer[]): string {
    const { validFrom = new Date(Date.now() - DAY_MS), validTo = new Date(Date.now() + DAY_MS) } = wanted
    const content = sequence(
      der(0xa0, integer(Buffer.from([2]))), // version 3
      integer(Buffer.concat([Buffer.from([0x01]), randomBytes(8)])),
      ECDSA_WITH_SHA256,
      distinguishedName(this.name),
      sequence(utcTime(validFrom), utcTime(validTo)),
      distinguishedName(wanted.name),
      publicKey.export({ type: 'spki', format: 'der' }),
      der(0xa3, sequence(...extensions)),
    )
    return pem(sequence(content, ECDSA_WITH_SHA256, bitString(sign('sha256', content, this.#keys.privateKey))))
  }
}

function newKeys() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

function pemOfKey(key: KeyObject, passphrase: string | undefined): string {
  const plain = key.export({ type: 'pkcs8', format: 'pem' })
  if (passphrase === undefined) return String(plain)
  return String(createPrivateKey(plain).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase }))
}

function pem(certificate: Buffer): string {
  const lines = certificate.toString('base64').replace(/.{64}/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}

/** DER: a tag, the length of the content, the content. */
function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content)
  const length = body.length < 128 ? [body.length] : [0x82, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}

function sequence(...content: readonly Buffer[]): Buffer {
  return der(0x30, ...content)
}

function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes)
}

function bitString(bytes: Buffer): Buffer {
  return der(0x03, Buffer.from([0]), bytes)
}

function utcTime(date: Date): Buffer {
  return der(0x17, Buffer.from(`${date.toISOString().slice(2, 19).replace(/\D/g, '')}Z`))
}

function objectId(dotted: string): Buffer {
  const [first = 0, second = 0, ...others] = dotted.split('.').map(Number)
  const septets = (value: number): number[] => [
    ...(value > 127 ? septets(value >> 7).map((byte) => byte | 128) : []),
    value & 127,
  ]
  return der(0x06, Buffer.from([first * 40 + second, ...others.flatMap(septets)]))
}

function distinguishedName(commonName: string): Buffer {
  return sequence(der(0x31, sequence(objectId('2.5.4.3'), der(0x0c, Buffer.from(commonName)))))
}

function extension(id: string, value: Buffer): Buffer {
  return sequence(objectId(id), der(0x04, value))
}

const ECDSA_WITH_SHA256 = sequence(objectId('1.2.840.10045.4.3.2'))
const IS_AUTHORITY = extension('2.5.29.19', sequence(der(0x01, Buffer.from([255]))))
const FOR_BOTH_SIDES = extension('2.5.29.37', sequence(objectId('1.3.6.1.5.5.7.3.1'), objectId('1.3.6.1.5.5.7.3.2')))

function forHosts(hosts: readonly string[]): readonly Buffer[] {
  if (hosts.length === 0) return []
  const names = hosts.map((host) =>
    isIP(host) ? der(0x87, Buffer.from(host.split('.').map(Number))) : der(0x82, Buffer.from(host)),
  )
  return [extension('2.5.29.17', sequence(...names))]
}
