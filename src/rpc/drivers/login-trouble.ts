import type { BrokerSettings } from './broker-settings.ts'
import type { BrokerHost } from './transport-url.ts'

/**
 * Why a broker that was reached does not let us in, in words, with what to change.
 * @param text amqplib's
 * @returns undefined when that was not the trouble
 */
export function describeLoginTrouble(
  text: string,
  { username }: BrokerHost,
  { vhost, loginMethod }: Pick<BrokerSettings, 'vhost' | 'loginMethod'>,
): string | undefined {
  const isCertificate = loginMethod === 'EXTERNAL'
  if (text.startsWith('SASL mechanism'))
    return `${text}; configure the broker's auth_mechanisms, or rabbit_login_method`
  // The broker tells nobody more than this, for whoever asks may be guessing.
  if (/^Handshake terminated by server: 403 /.test(text)) {
    return isCertificate
      ? 'the broker refused the user of our certificate (403 ACCESS_REFUSED); add that user at the broker, whose log has its name'
      : `the broker refused user ${username} (403 ACCESS_REFUSED); correct user and password in the URL: the broker's log says what it did not like`
  }
  // It says why, with 530 NOT_ALLOWED, and amqplib throws that away.
  if (text.startsWith('Expected ConnectionOpenOk; got <ConnectionClose')) {
    const user = isCertificate ? 'USER' : quoted(username)
    const add = `rabbitmqctl add_vhost ${quoted(vhost)}`
    const permit = `rabbitmqctl set_permissions -p ${quoted(vhost)} ${user} '.*' '.*' '.*'`
    return `the broker does not open vhost ${vhost} (530 NOT_ALLOWED): mostly it is not there (${add}), or our user has no permission on it (${permit}), or too many connections are open; name another at the end of the URL, or look into the broker's log`
  }
  return undefined
}

/** As a shell takes it for one word. */
function quoted(name: string): string {
  return /^[\w./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`
}
