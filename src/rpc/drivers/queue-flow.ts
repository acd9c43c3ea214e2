/** Whether what waits in a queue comes, by what was seen of it the last time. */
export class QueueFlow {
  readonly #queue: string
  #last = { delivered: 0, isWaitedFor: false }

  constructor(queue: string) {
    this.#queue = queue
  }

  /**
   * @param messages that wait in it
   * @param delivered ever
   * @param hasRoom another would be delivered
   */
  judge(
    messages: number,
    delivered: number,
    hasRoom: boolean,
  ): { readonly trouble?: string; readonly isQuiet: boolean } {
    const isQuiet = delivered === this.#last.delivered
    const isWaitedFor = hasRoom && messages > 0
    const wasWaitedFor = this.#last.isWaitedFor
    this.#last = { delivered, isWaitedFor }
    if (!(isQuiet && isWaitedFor && wasWaitedFor)) return { isQuiet }
    return { trouble: `${messages} messages wait in the queue ${this.#queue}, and none is delivered here`, isQuiet }
  }
}
