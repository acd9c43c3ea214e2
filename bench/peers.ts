export interface Peer {
  readonly name: string
  /** What it does, in a line. */
  readonly what: string
  readonly command: readonly [string, ...string[]]
  readonly options?: Readonly<Record<string, unknown>>
  /** Slower ones are measured with a part of the calls. */
  readonly part?: number
}

const node = (file: string): readonly [string, ...string[]] => [process.execPath, '--import', 'tsx', `peers/${file}`]
const EVENTS = { events: true }
/** The distribution's, which has python3-oslo.messaging. */
const PYTHON = '/usr/bin/python3'

/** Request and reply, each durable, persistent and confirmed. */
export const CALLS: readonly Peer[] = [
  { name: 'sevbus', what: 'validated twice, oslo.messaging envelope', command: node('sevbus.ts') },
  { name: 'amqplib', what: 'by hand; nothing validated', command: node('amqplib.ts') },
  {
    name: 'amqplib-tuned',
    what: 'with what sevbus does to the socket, and nothing else of it',
    command: node('amqplib.ts'),
    options: { tuned: true },
  },
  {
    name: 'floor',
    what: 'amqplib-tuned with what the wire format forces: its JSON, properties and queues, and validation',
    command: node('floor.ts'),
  },
  { name: 'nestjs', what: '@nestjs/microservices, RMQ transport', command: node('nest.js') },
  { name: 'oslo.messaging', what: 'Python, threading executor', command: [PYTHON, 'peers/oslo.py'], part: 0.1 },
]

/** Events of 3 KB, confirmed. */
export const EVENT_PEERS: readonly Peer[] = [
  { name: 'sevbus', what: 'notification', command: node('sevbus.ts'), options: EVENTS },
  { name: 'amqplib', what: 'by hand', command: node('amqplib.ts'), options: EVENTS },
  { name: 'amqplib-tuned', what: 'as above', command: node('amqplib.ts'), options: { events: true, tuned: true } },
  { name: 'floor', what: 'as above', command: node('floor.ts'), options: EVENTS },
  {
    name: 'oslo.messaging',
    what: 'notifier and listener, Python',
    command: [PYTHON, 'peers/oslo.py'],
    options: EVENTS,
    part: 0.1,
  },
]

/** The same events, stored before they are sent. */
export const STORED_PEERS: readonly Peer[] = [
  { name: 'outbox', what: 'of a conductor: tables, numbered, kept to be sent again', command: node('outbox.ts') },
  { name: 'spool', what: 'of a compute worker: its journal on disk', command: node('spool.ts') },
  { name: 'amqplib', what: 'by hand, not stored', command: node('amqplib.ts'), options: EVENTS },
  { name: 'bare-outbox', what: 'a row in, a row out, and amqplib by hand', command: node('bare-outbox.ts') },
  {
    name: 'oslo.messaging',
    what: 'notifier, not stored',
    command: [PYTHON, 'peers/oslo.py'],
    options: EVENTS,
    part: 0.1,
  },
]

/** The same notifications, read. */
export const CONSUMERS: readonly Peer[] = [
  { name: 'sevbus', what: 'one by one', command: node('consumer.ts') },
  { name: 'sevbus, batches', what: 'of 64', command: node('consumer.ts'), options: { batches: true } },
  {
    name: 'amqplib',
    what: 'parses both layers and acknowledges',
    command: node('consumer.ts'),
    options: { bare: true },
  },
]
