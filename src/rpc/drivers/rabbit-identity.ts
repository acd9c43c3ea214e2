import { type ChannelModel, IllegalOperationError } from 'amqplib'
import { InvalidConfiguration } from '../../errors.ts'

/**
 * Asks the broker whether it knows us by this name: it closes the channel on any message that says another. Certificates
 * and OAuth 2 tokens have names that only the broker can tell.
 *
 * @returns what is wrong, naming both
 */
export async function userIdProblem(model: ChannelModel, userId: string): Promise<InvalidConfiguration | undefined> {
  const channel = await model.createConfirmChannel()
  let refusal: string | undefined
  channel.on('error', ({ message }) => {
    refusal = message
  })
  // To the queue without a name, which nobody can have.
  await new Promise((resolve) => channel.publish('', '', Buffer.alloc(0), { userId }, resolve))
  await channel.close().catch((error: unknown) => {
    if (!(error instanceof IllegalOperationError)) throw error
  })
  const [, known] = /user_id property set to .* but authenticated user was '(.*)'/.exec(refusal ?? '') ?? []
  if (known === undefined) return undefined
  return new InvalidConfiguration(
    `the broker knows us as ${known}, and the URL says ${userId}; write ${known} as the user in the URL, or set transport.send_user_id = false`,
    { problems: [`the user in the URL is ${userId}`], fix: `write ${known} as the user in the URL` },
  )
}
