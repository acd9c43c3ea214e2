import type { z } from 'zod'
import type { Api, Method } from '../../src/rpc/contract.ts'
import {
  contentOf,
  ENVELOPE_SCHEMAS,
  notificationSchema,
  replySchema,
  requestSchema,
  schemaRef,
} from './asyncapi-wire.ts'
import { bare, contractSchemas } from './contract-schemas.ts'
import { NOTIFICATION_CATALOGUE, priorityOf } from './notification-catalogue.ts'
import { EXTENSION, type JsonSchema, payloadId, payloadSchemas } from './payload-schemas.ts'

type Objects = Readonly<Record<string, z.ZodType>>
type Json = Readonly<Record<string, unknown>>

export interface Documented {
  readonly version: string
  readonly apis: readonly Api[]
  /** Objects of the contracts, by name. */
  readonly objects: Objects
  /** The same as somebody writes them, where that is stricter. */
  readonly strict: Objects
}

/** The AsyncAPI 3 document of everything that workers take from the bus and put on it. */
export function asyncApi({ version, apis, objects, strict }: Documented): Json {
  const methods = apis.flatMap((api) => Object.values(api.methods).map((method) => ({ api, method })))
  return {
    asyncapi: '3.0.0',
    info: { title: 'sevbus', version, description: DESCRIPTION, license: { name: 'Apache-2.0' } },
    defaultContentType: 'application/json',
    servers: { rabbitmq: SERVER },
    channels: {
      ...Object.fromEntries(apis.map((api) => [api.service, serviceChannel(api)])),
      replies: repliesChannel(methods),
      ...Object.fromEntries(PRIORITIES.map((priority) => [`notifications.${priority}`, notificationChannel(priority)])),
    },
    operations: Object.fromEntries([
      ...methods.map(({ api, method }) => [nameOf(api, method), requestOperation(api, method)]),
      ...Object.entries(NOTIFICATION_CATALOGUE).map(([event, { summary }]) => [event, sendOperation(event, summary)]),
    ]),
    components: {
      messages: Object.fromEntries([
        ...methods.flatMap(({ api, method }) => methodMessages(api, method)),
        ...Object.keys(NOTIFICATION_CATALOGUE).map((event) => [event, notificationMessage(event)]),
      ]),
      schemas: schemas(methods, { objects, strict }),
    },
  }
}

const DESCRIPTION = [
  'What conductor, scheduler and compute workers take from RabbitMQ and put on it, made from the contracts that servers',
  'and clients share (sevbus/contracts) and from the payloads of the notifications. Names of exchanges and topics are the',
  'defaults; the configuration may have others. Who asks writes args by name, and unknown ones are refused; who reads an',
  'answer or a notification leaves out what it does not know. docs/rpc.md has the same for people, docs/errors.md the',
  'errors.',
].join(' ')

const SERVER = {
  host: 'localhost:5672',
  protocol: 'amqp',
  protocolVersion: '0.9.1',
  description: 'RabbitMQ, 3.10 or later. Messages are those of oslo.messaging.',
}

const PRIORITIES = ['info', 'error'] as const
type Priority = (typeof PRIORITIES)[number]

const nameOf = (api: Api, { wire }: Method) => `${api.service}.${wire}`
const messageRef = (name: string) => ({ $ref: `#/components/messages/${name}` })
const inChannel = (channel: string, name: string) => ({ $ref: `#/channels/${channel}/messages/${name}` })

function topicBinding(exchange: string) {
  const declared = { name: exchange, type: 'topic', durable: true, autoDelete: false }
  return { amqp: { is: 'routingKey', exchange: declared, bindingVersion: '0.3.0' } }
}

function serviceChannel(api: Api) {
  const requests = Object.values(api.methods).map((method) => `${nameOf(api, method)}.request`)
  const isDirected = api.service === 'compute'
  return {
    address: isDirected ? 'sevbus-compute.{host}' : `sevbus-${api.service}`,
    title: `Requests to ${isDirected ? 'the compute worker of a host' : `any ${api.service}`}, version ${api.version}`,
    messages: Object.fromEntries(requests.map((request) => [request, messageRef(request)])),
    ...(isDirected && { parameters: { host: { description: 'The name of the host: compute.host of its worker.' } } }),
    bindings: topicBinding('sevbus'),
  }
}

function repliesChannel(methods: readonly { readonly api: Api; readonly method: Method }[]) {
  const replies = methods
    .filter(({ method }) => method.kind === 'call')
    .map(({ api, method }) => `${nameOf(api, method)}.reply`)
  return {
    address: null,
    title: "A caller's own queue, on the default exchange: `_reply_q` of the request names it",
    messages: Object.fromEntries(replies.map((reply) => [reply, messageRef(reply)])),
  }
}

function notificationChannel(priority: Priority) {
  const events = Object.keys(NOTIFICATION_CATALOGUE).filter((event) => priorityOf(event) === priority)
  return {
    address: `versioned_notifications.${priority}`,
    title: `Notifications of priority ${priority.toUpperCase()}`,
    messages: Object.fromEntries(events.map((event) => [event, messageRef(event)])),
    bindings: topicBinding('nova'),
  }
}

function requestOperation(api: Api, method: Method): Json {
  const name = nameOf(api, method)
  const reply = { channel: { $ref: '#/channels/replies' }, messages: [inChannel('replies', `${name}.reply`)] }
  return {
    action: 'receive',
    title: `${method.wire}, a ${method.kind} since ${method.since}`,
    summary: method.summary,
    channel: { $ref: `#/channels/${api.service}` },
    messages: [inChannel(api.service, `${name}.request`)],
    ...(method.kind === 'call' && { reply }),
  }
}

function sendOperation(event: string, summary: string): Json {
  const channel = `notifications.${priorityOf(event)}`
  return { action: 'send', summary, channel: { $ref: `#/channels/${channel}` }, messages: [inChannel(channel, event)] }
}

function methodMessages(api: Api, method: Method): [string, Json][] {
  const name = nameOf(api, method)
  const message = (part: string) => [`${name}.${part}`, { name: `${name}.${part}`, ...contentOf(`${name}.${part}`) }]
  return [message('request'), ...(method.kind === 'call' ? [message('reply')] : [])] as [string, Json][]
}

function notificationMessage(event: string): Json {
  return { name: event, title: event, ...contentOf(`${event}.notification`) }
}

function schemas(
  methods: readonly { readonly api: Api; readonly method: Method }[],
  { objects, strict }: Pick<Documented, 'objects' | 'strict'>,
): Readonly<Record<string, JsonSchema>> {
  const calls = methods.filter(({ method }) => method.kind === 'call')
  const part = (which: typeof methods, name: string, of: (method: Method) => z.ZodType) =>
    Object.fromEntries(which.map(({ api, method }) => [`${nameOf(api, method)}.${name}`, of(method)]))
  // The same object is written with more freedom than it is read: what has a default may be left out.
  const written = Object.fromEntries(
    Object.entries({ ...objects, ...strict }).map(([name, schema]) => [`${name}.written`, schema]),
  )
  const requests = methods.map(({ api, method }) => [
    `${nameOf(api, method)}.request`,
    requestSchema(nameOf(api, method), method),
  ])
  const replies = calls.map(({ api, method }) => [`${nameOf(api, method)}.reply`, replySchema(nameOf(api, method))])
  const notifications = Object.entries(NOTIFICATION_CATALOGUE).map(([event, told]) => [
    `${event}.notification`,
    notificationSchema(
      event,
      told.publisher,
      payloadId(told.payload),
      told.isOfInstance === false ? undefined : payloadId(EXTENSION),
    ),
  ])
  const payloads = [...payloadSchemas((payload) => schemaRef(payloadId(payload)))].map(([payload, schema]) => [
    payloadId(payload),
    bare(schema),
  ])
  return Object.fromEntries([
    ...requests,
    ...Object.entries(
      contractSchemas(
        part(methods, 'args', ({ input }) => input),
        written,
        'input',
        schemaRef,
      ),
    ),
    ...replies,
    ...Object.entries(
      contractSchemas(
        part(calls, 'result', ({ output }) => output),
        objects,
        'output',
        schemaRef,
      ),
    ),
    ...notifications,
    ...payloads,
    ...Object.entries(ENVELOPE_SCHEMAS),
  ])
}
