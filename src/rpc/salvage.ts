/** Names on the wire are AMQP short strings at most; ids are 32 hex digits in practice. */
const STRING = String.raw`\\?"\s*:\s*\\?"([\w.:@-]{1,255})\\?"`
const MSG_ID = new RegExp(`"_msg_id${STRING}`)
const REPLY_QUEUE = new RegExp(`"_reply_q${STRING}`)
const METHOD = new RegExp(`"method${STRING}`)

/**
 * The id in a message that cannot be parsed (a Python peer wrote NaN, an integer of 20 digits, 10 MB), so that whoever
 * waits learns of it at once and not by a timeout. Looks for the key in the text, quoted once or twice.
 */
export function salvageMsgId(body: Buffer): string | undefined {
  return MSG_ID.exec(body.toString('latin1'))?.[1]
}

/** Where a request that cannot be parsed wants its answer. */
export function salvageReplyAddress(body: Buffer): { readonly msgId: string; readonly queue: string } | undefined {
  const text = body.toString('latin1')
  const [msgId, queue] = [MSG_ID.exec(text)?.[1], REPLY_QUEUE.exec(text)?.[1]]
  return msgId === undefined || queue === undefined ? undefined : { msgId, queue }
}

/** What a message asks for that is not to be parsed, for the log. */
export function salvageMethod(body: Buffer): string | undefined {
  return METHOD.exec(body.toString('latin1'))?.[1]
}
