import type { RunningCloud } from '../../support/running-cloud.ts'
import type { SevbusProcess } from '../../support/sevbus-process.ts'
import { BILLER, CONDUCTORS, HOST_NAMES, SCHEDULERS } from './plan.ts'

/** Fifteen slots of SEV on three hosts, with some of other models beside. */
const HOSTS: Readonly<Record<(typeof HOST_NAMES)[number], Record<string, string>>> = {
  h1: { SEVBUS_FAKE_SEV_SLOTS: '5' },
  h2: { SEVBUS_FAKE_SEV_SLOTS: '5', SEVBUS_FAKE_SEV_ES_SLOTS: '3' },
  h3: { SEVBUS_FAKE_SEV_SLOTS: '5', SEVBUS_FAKE_SEV_SNP_SLOTS: '3' },
}

/** The workers of a cloud; who is killed is started again under the same name. */
export class StormCrew {
  readonly #cloud: RunningCloud
  readonly #ledgerUrl: string
  readonly #workers = new Map<string, SevbusProcess>()
  /** One at a time for each worker: killed while it starts, it would be started twice. */
  readonly #turns = new Map<string, Promise<void>>()
  /** Who is started again needs a broker in the time that a test has: it is not restarted meanwhile. */
  #broker: Promise<void> = Promise.resolve()
  kills = 0

  /** @param ledgerUrl of the biller's own database */
  constructor(cloud: RunningCloud, ledgerUrl: string) {
    this.#cloud = cloud
    this.#ledgerUrl = ledgerUrl
  }

  async start(): Promise<void> {
    await Promise.all([...HOST_NAMES, ...CONDUCTORS, ...SCHEDULERS, BILLER].map((name) => this.#begin(name)))
  }

  /** From outside, without a word; then it is started again. */
  kill(name: string): Promise<void> {
    const turn = Promise.all([this.#turns.get(name), this.#broker]).then(async () => {
      this.kills++
      const doomed = this.#workers.get(name)
      doomed?.kill('SIGKILL')
      await doomed?.exited()
      await this.#begin(name)
    })
    this.#turns.set(name, turn)
    return turn
  }

  /** All of them are at work when it dies, and whoever is to be killed meanwhile is killed when it is back. */
  restartBroker(restart: () => Promise<void>): Promise<void> {
    const turn = Promise.all([this.#broker, ...this.#turns.values()]).then(restart)
    this.#broker = turn
    return turn
  }

  /** Those that have ended by themselves, which none of them may. */
  get deserters(): readonly string[] {
    return [...this.#workers].flatMap(([name, { ended, output }]) =>
      ended === undefined ? [] : [`${name} has ended with ${ended}:\n${output.slice(-2000)}`],
    )
  }

  async #begin(name: string): Promise<void> {
    if (name === BILLER) {
      this.#workers.set(name, await this.#cloud.biller({ SEVBUS_BILL_DATABASE_URL: this.#ledgerUrl }))
      return
    }
    const slots = HOSTS[name as keyof typeof HOSTS]
    if (slots !== undefined) {
      this.#workers.set(name, await this.#cloud.compute(name, { ...slots, SEVBUS_FAKE_SPAWN_DELAY_MS: '100' }))
      return
    }
    const service = name.startsWith('c') ? 'conductor' : 'scheduler'
    this.#workers.set(name, await this.#cloud.worker(service, name))
  }
}
