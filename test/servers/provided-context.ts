import type { Rabbitmqctl } from '../../src/servers/installed-rabbitmq.ts'

/** What the global set-up hands to every test file: `inject('amqpUrl')`. */
declare module 'vitest' {
  interface ProvidedContext {
    /** A real RabbitMQ; vhost `/` is shared by all test files, so names of queues and exchanges are made up per test. */
    amqpUrl: string
    /** A real PostgreSQL, as a user who may create databases; tests work in databases that they create. */
    databaseUrl: string
    /** What the names of those begin with, so that the run can drop them when it ends. */
    databasePrefix: string
    /** A folder that is removed when the run ends. */
    runFolder: string
    /** `RabbitMQ 4.2.1, started privately from …`. */
    brokerDescription: string
    /** Undefined where the broker is none that the run has started from the machine's programs: `ownBroker()` then starts one. */
    rabbitmqctl: Rabbitmqctl | undefined
    databaseDescription: string
    /** `oslo.messaging 14.0.3 (/usr/bin/python3)`; undefined where the Python peers cannot run. */
    osloPeers: string | undefined
    /** `libvirt 9.0.0, QEMU 7.2.22, …`; undefined where no real guests can run. */
    hypervisor: string | undefined
    /** Where `notRun` writes, for the summary. */
    notRunFile: string
  }
}
