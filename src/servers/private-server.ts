/** A server that this process started for itself: on loopback, on ports of its own, gone when closed. */
export interface PrivateServer {
  /** Where clients connect, with the password it was given. */
  readonly url: string
  /** For people, without password: `RabbitMQ 4.2.1, a container of rabbitmq:4.2.1-management`. */
  readonly description: string
  /** Ends the server and removes its data; a second caller gets the same promise. */
  close(): Promise<void>
}

export interface StartOptions {
  /** Aborting ends what was begun and rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Told, in a line for people, why a way to start a server does not exist on this machine. */
  readonly tell?: (line: string) => void
}
