import type { ToldBroker } from './own-broker.ts'

/** A user of the broker who may do everything but what is taken from it. */
export interface PoorUser {
  readonly name: string
  readonly url: string
  /** From now on: RabbitMQ asks anew for each channel, and within it once a while. */
  mayWrite(pattern: string): Promise<void>
}

export async function addPoorUser(broker: ToldBroker, name: string, mayWriteFirst = '.*'): Promise<PoorUser> {
  const url = new URL(broker.url)
  ;[url.username, url.password] = [name, 'secret']
  await broker.control('add_user', name, 'secret')
  const mayWrite = async (pattern: string) =>
    void (await broker.control('set_permissions', '-p', '/', name, '.*', pattern, '.*'))
  await mayWrite(mayWriteFirst)
  return { name, url: String(url), mayWrite }
}
