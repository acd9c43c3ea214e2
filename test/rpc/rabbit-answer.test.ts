import type { Channel, ChannelModel } from 'amqplib'
import { expect, it, vi } from 'vitest'
import { NoAnswer, openChannel } from '../../src/rpc/drivers/rabbit-answer.ts'

it('closes a channel that the broker opens after nobody waits for it any more', async () => {
  let open: (channel: Channel) => void = () => {}
  const opening = new Promise<Channel>((resolve) => {
    open = resolve
  })
  const close = vi.fn(async () => {})
  const model = { createChannel: () => opening } as unknown as ChannelModel

  await expect(openChannel(model, { answerTimeoutMs: 1 })).rejects.toThrow(NoAnswer)
  open({ close } as unknown as Channel)

  await vi.waitFor(() => expect(close).toHaveBeenCalledOnce())
})
