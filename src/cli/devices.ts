import { randomBytes } from 'node:crypto'
import { isIPv6 } from 'node:net'
import { VolumeBus } from '../objects/attached-devices.ts'
import { notAttached } from '../objects/attachment-rules.ts'
import { Mac } from '../objects/ip-address.ts'
import { spelledChoice } from '../objects/spelled-value.ts'
import { type ActOptions, act } from './act.ts'
import { checkedWord, uuidWord } from './checked-word.ts'
import { findInstance, UUID } from './find-instance.ts'

interface VolumeOptions extends ActOptions {
  readonly volumeId?: string
  readonly bus?: string
}

export function attachVolume(word: string, path: string, options: VolumeOptions): Promise<number> {
  const volume_id = uuidWord('--volume-id', options.volumeId)
  const bus = spelledChoice('the command line', '--bus', options.bus, [...VolumeBus.options, 'ide'] as const)
  return act([word], options, ({ conductor, context }, instance_uuid) =>
    conductor.attachVolume(context, { instance_uuid, volume_id, path, ...(bus && { bus }) }),
  )
}

/** @param named its id, or its path on the host */
export function detachVolume(word: string, named: string, options: ActOptions): Promise<number> {
  return act([word], options, async (session, instance_uuid) => {
    const instance = await findInstance(session, word)
    const volume_id = instance.volumes.find(({ path }) => path === named)?.volume_id ?? named
    if (!UUID.test(volume_id)) throw notAttached(instance, 'volume', named)
    return session.conductor.detachVolume(session.context, { instance_uuid, volume_id })
  })
}

interface InterfaceOptions extends ActOptions {
  readonly mac?: string
  readonly network?: string
  readonly bridge?: string
  readonly address?: string
}

export function attachInterface(word: string, options: InterfaceOptions): Promise<number> {
  const { mac = newMac(), network, bridge, address } = options
  return act([word], options, ({ conductor, context }, instance_uuid) =>
    conductor.attachInterface(context, {
      instance_uuid,
      mac,
      ...(network !== undefined && { network }),
      ...(bridge !== undefined && { bridge }),
      ...(address !== undefined && { address, version: isIPv6(address) ? 6 : 4 }),
    }),
  )
}

export function detachInterface(word: string, mac: string, options: ActOptions): Promise<number> {
  checkedWord(Mac, '<mac>', mac, 'write its MAC address as sevbus show has it, e.g. fa:16:3e:00:00:05')
  return act([word], options, ({ conductor, context }, instance_uuid) =>
    conductor.detachInterface(context, { instance_uuid, mac }),
  )
}

/** With the first octets that OpenStack's ports have. */
function newMac(): string {
  const own = [...randomBytes(3)].map((octet) => octet.toString(16).padStart(2, '0'))
  return ['fa', '16', '3e', ...own].join(':')
}
