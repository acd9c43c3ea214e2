import { join } from 'node:path'
import type { Book } from './auditor.ts'
import { programOf } from './built-roles.ts'
import { Life, type Role } from './life.ts'
import { Line } from './line.ts'
import type { Settings } from './member.ts'

/** A broker that does not hear from somebody for twice this long drops the connection, and so do we. */
const HEARTBEAT_SECONDS = 2

export interface CrewOptions {
  /** Where the broker is now. */
  readonly brokerUrl: () => string
  readonly folder: string
  readonly seed: number
  /** What all members are told alike. */
  readonly common: Omit<Settings, 'name' | 'life' | 'url' | 'ledgerPath' | 'logPath' | 'seed'>
}

/** One name of the crew: its line to the broker, its process, and those before it that were killed. */
export class CrewMember {
  readonly name: string
  readonly role: Role
  readonly line: Line
  replyQueue: string | undefined
  readonly #options: CrewOptions
  readonly #lives: Life[] = []

  private constructor(name: string, role: Role, line: Line, options: CrewOptions) {
    this.name = name
    this.role = role
    this.line = line
    this.#options = options
  }

  static async hire(name: string, role: Role, options: CrewOptions): Promise<CrewMember> {
    return new CrewMember(name, role, await Line.to(options.brokerUrl), options)
  }

  /** How many messages all its lives have sent, and how many of those went well. */
  get sent(): { readonly messages: number; readonly done: number } {
    const sum = (key: 'messages' | 'done') => this.#lives.reduce((all, { sent }) => all + sent[key], 0)
    return { messages: sum('messages'), done: sum('done') }
  }

  /** Begins its work. Resolves when it is ready. */
  async begin(): Promise<void> {
    const { brokerUrl, folder, seed, common } = this.#options
    const number = this.#lives.length + 1
    const url = new URL(this.line.through(brokerUrl()))
    url.searchParams.set('heartbeat', String(HEARTBEAT_SECONDS))
    const settings: Settings = {
      ...common,
      name: this.name,
      life: `${this.name}#${number}`,
      url: url.href,
      ledgerPath: join(folder, `${this.name}.${number}.jsonl`),
      logPath: join(folder, `${this.name}.${number}.log`),
      seed: seed + [...this.name].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), number),
    }
    const life = new Life(await programOf(this.role), settings, (queue) => {
      this.replyQueue = queue
    })
    this.#lives.push(life)
    await life.ready
  }

  /** SIGKILL, and a new life. */
  async killAndBegin(): Promise<void> {
    await this.#lives.at(-1)?.kill()
    await this.begin()
  }

  /** Sends nothing new; resolves when what it has begun has ended. */
  async stop(graceMs: number): Promise<void> {
    await this.#lives.at(-1)?.stop(graceMs)
  }

  async end(graceMs: number): Promise<void> {
    await this.#lives.at(-1)?.end(graceMs)
  }

  books(): readonly Book[] {
    return this.#lives.map((life) => life.book())
  }

  /** Whatever it does. */
  async dismiss(): Promise<void> {
    await this.#lives.at(-1)?.kill()
    await this.line[Symbol.asyncDispose]()
  }
}
