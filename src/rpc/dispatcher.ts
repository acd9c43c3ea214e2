import type { z } from 'zod'
import { InternalError, InvalidArguments, NoSuchMethod, UnsupportedVersion } from '../errors.ts'
import { hot } from '../hot-schema.ts'
import type { Api, Endpoint, Method, RequestInfo } from './contract.ts'
import { pingApiOf } from './ping.ts'
import type { Request } from './request.ts'
import { isCompatible } from './version.ts'

type Handler = (args: unknown, info: RequestInfo) => Promise<unknown>

/** A contract with the object that fulfils it. */
export interface Binding {
  readonly api: Api
  readonly handlers: ReadonlyMap<string, { readonly method: Method; readonly handler: Handler }>
}

export function bind<A extends Api>(api: A, endpoint: Endpoint<A>): Binding {
  const methods = Object.entries(api.methods).map(([name, method]) => {
    const handler = (endpoint as Record<string, Handler>)[name] as Handler
    return [method.wire, { method, handler: handler.bind(endpoint) }] as const
  })
  return { api, handlers: new Map(methods) }
}

const PING = bind(pingApiOf(''), { ping: async () => 'pong' as const })

export interface Dispatch {
  readonly method: Method
  /** Validates the arguments, runs the endpoint, validates the result. */
  readonly run: (info: RequestInfo) => Promise<unknown>
}

/**
 * Finds what serves a request: the first binding of its namespace and a compatible version that has the method.
 *
 * @throws UnsupportedVersion, NoSuchMethod: with oslo.messaging's texts
 */
export function dispatch(bindings: readonly Binding[], request: Request): Dispatch {
  const serving = bindings.filter((binding) => serves(binding, request))
  // Ping comes last and aside: it changes nothing about which versions the service is found to have.
  const found = handlerIn(serving, request) ?? (serves(PING, request) ? handlerIn([PING], request) : undefined)
  if (found !== undefined) {
    const { method, handler } = found
    return { method, run: (info) => runChecked(method, handler, request.args, info) }
  }
  if (serving.length > 0) throw new NoSuchMethod(`Endpoint does not support RPC method ${request.method}`)
  throw new UnsupportedVersion(
    `Endpoint does not support RPC version ${request.version}. Attempted method: ${request.method}`,
  )
}

function serves({ api }: Binding, { namespace, version }: Request): boolean {
  return api.namespace === namespace && (api.version === version || isCompatible(api.version, version))
}

function handlerIn(bindings: readonly Binding[], { method }: Request) {
  for (const { handlers } of bindings) {
    const found = handlers.get(method)
    if (found !== undefined) return found
  }
  return undefined
}

async function runChecked(method: Method, handler: Handler, given: unknown, info: RequestInfo) {
  const args = hot(method.input).safeParse(given)
  if (!args.success) {
    throw wrongArguments(method, args.error)
  }
  const result = await handler(args.data, info)
  const output = hot(method.output).safeParse(result)
  if (output.success) return output.data
  throw new InternalError(
    `${method.wire} gave a result that its contract does not have: ${describeIssues(output.error)}`,
  )
}

/** With every problem by its field, up to twenty. */
export function wrongArguments(method: Method, error: z.ZodError): InvalidArguments {
  return new InvalidArguments(`${method.wire}: ${describeIssues(error)}`, {
    method: method.wire,
    problems: error.issues.slice(0, 20).map(({ path, message }) => ({
      field: path.join('.').slice(0, 300),
      problem: message.slice(0, 300),
    })),
    fix: 'correct the named fields; the contract says what they take',
  })
}

/** `field: problem; field: problem`, at most five, and none longer than one can read: a peer may have written it. */
export function describeIssues(error: z.ZodError): string {
  const issues = error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join('.') || 'arguments'}: ${issue.message}`.slice(0, 300))
  const more = error.issues.length - issues.length
  return issues.join('; ') + (more > 0 ? `; and ${more} more` : '')
}
