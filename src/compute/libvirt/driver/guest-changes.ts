import type { GuestChange } from '../../virt-driver.ts'
import type { Libvirt } from '../rpc/libvirt.ts'

/** libvirt's events of guests, until the signal aborts; what kind they are nobody need know, for the guest is looked at then. */
export async function* guestChanges(
  libvirt: Pick<Libvirt, 'events'>,
  signal: AbortSignal,
): AsyncGenerator<GuestChange> {
  const stream = libvirt.events()
  const end = () => stream.end()
  signal.addEventListener('abort', end, { once: true })
  try {
    if (signal.aborted) return
    for await (const event of stream) yield event.kind === 'resync' ? { resync: event.why } : { uuid: event.uuid }
  } finally {
    signal.removeEventListener('abort', end)
    end()
  }
}
