import type { SevbusError } from '../errors.ts'
import { libvirtConnectError } from '../notifications/libvirt-error.ts'
import type { NotificationNames } from '../notifications/notification.ts'
import { newRequestContext } from '../rpc/request-context.ts'
import type { ComputePorts } from './compute-ports.ts'
import { queued } from './journal/journal.ts'

interface LossPorts extends Pick<ComputePorts, 'host' | 'journal' | 'outbox' | 'logger'> {
  readonly ip: string
}

/**
 * Tells by `libvirt.connect.error` that there is no connection to libvirt: once for each loss, however often it is tried again, and
 * whatever the reasons are meanwhile. It waits in the journal until the broker has it.
 */
export class ToldLosses {
  readonly #ports: LossPorts
  readonly #names: NotificationNames
  #isTold = false

  constructor(ports: LossPorts, names: NotificationNames) {
    this.#ports = ports
    this.#names = names
  }

  /** Never throws. */
  async lost(error: SevbusError): Promise<void> {
    if (this.#isTold) return
    this.#isTold = true
    const { host, ip, journal, outbox, logger } = this.#ports
    const context = newRequestContext()
    try {
      await journal.append([queued([libvirtConnectError(this.#names, { host, ip, context, error, at: new Date() })])])
      outbox.announce()
    } catch (err) {
      logger.warn({ err, code: error.code }, 'a loss of libvirt is told to nobody')
    }
  }

  /** The next loss is another one. */
  back(): void {
    this.#isTold = false
  }
}
