import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { context as active, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { startLocalCloud } from '../../src/compose/local-cloud.ts'
import { allMigrations } from '../../src/compose/migrations.ts'
import { busNames, notificationNames } from '../../src/compose/names.ts'
import { ConductorApi } from '../../src/conductor/rpc-api.ts'
import { loadConfig } from '../../src/config.ts'
import { NotificationConsumer } from '../../src/notifications/consumer.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { type DatabaseEngine, databaseEngines } from '../support/databases.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import { silent } from '../support/transports.ts'

const SETTLE = { timeout: 20_000 }
const exporter = new InMemorySpanExporter()

beforeAll(() => {
  active.setGlobalContextManager(new AsyncLocalStorageContextManager())
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
})
afterAll(() => {
  active.disable()
  trace.disable()
})
beforeEach(() => exporter.reset())

/** An API tier, a cloud of one host, and billing. */
async function openCloud({ sev_slots }: { readonly sev_slots: number }) {
  const [pglite] = databaseEngines as [DatabaseEngine]
  const opened = await pglite.open(allMigrations)
  const bus = new MemoryBus()
  const config = loadConfig({ env: {} })
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-traces-'))
  const connect = async () => bus.connect()
  const hosts = [{ host: 'h1', fake: { sev_slots } }]
  const cloud = await startLocalCloud({
    config,
    database: opened.database,
    connect,
    hosts,
    folder,
    logger: silent,
  })
  const transport = bus.connect()
  const billed: string[] = []
  const billing = new NotificationConsumer({
    transport,
    logger: silent,
    names: notificationNames(config),
    onNotification: async ({ event_type }) => void billed.push(event_type),
  })
  await billing.start()
  const client = new RpcClient({ transport, logger: silent, names: busNames(config) })
  onTestFinished(async () => {
    await billing.close()
    await cloud.drain(5000)
    await client.close()
    await opened[Symbol.asyncDispose]()
  })
  return { conductor: client.of(ConductorApi), billed }
}

/** Spans below their parents, each with its kind, in the order in which they began. */
function tree(spans: readonly ReadableSpan[], parent: string | undefined, indent = ''): string[] {
  return spans
    .filter(({ parentSpanContext }) => parentSpanContext?.spanId === parent)
    .flatMap((span) => {
      const line = `${indent}${span.name} (${SpanKind[span.kind].toLowerCase()})`
      return [line, ...tree(spans, span.spanContext().spanId, `${indent}  `)]
    })
}

function spansOf(traceId: string | undefined): ReadableSpan[] {
  const spans = exporter.getFinishedSpans().filter((span) => span.spanContext().traceId === traceId)
  return spans.toSorted((a, b) => a.startTime[0] - b.startTime[0] || a.startTime[1] - b.startTime[1])
}

it('a boot is one trace, from the request of the API tier to the guest that runs and the bill', async () => {
  const { conductor, billed } = await openCloud({ sev_slots: 1 })
  const request = { name: 'sev', flavor: sevFlavor, image: anImage(), count: 1 }

  const traceId = await trace.getTracer('api').startActiveSpan('POST /servers', async (span) => {
    await conductor.buildInstances(newRequestContext(), request)
    span.end()
    return span.spanContext().traceId
  })

  await vi.waitFor(() => expect(billed).toContain('instance.create.end'), SETTLE)
  await vi.waitFor(() => expect(spansOf(traceId).map(({ name }) => name)).toContain('process instance.create.end'))
  const told = () => spansOf(traceId).filter(({ name }) => name === 'scheduler/note_build')
  await vi.waitFor(() => expect(told()).toHaveLength(2))
  expect(tree(spansOf(traceId), undefined)).toMatchInlineSnapshot(`
    [
      "POST /servers (internal)",
      "  conductor/build_instances (client)",
      "    conductor/build_instances (server)",
      "      conductor/continue_build (producer)",
      "        conductor/continue_build (consumer)",
      "          scheduler/select_destinations (client)",
      "            scheduler/select_destinations (server)",
      "          send slot.claimed (producer)",
      "            process slot.claimed (consumer)",
      "          send instance.create.start (producer)",
      "            process instance.create.start (consumer)",
      "          compute/build_and_run_instance (producer)",
      "            compute/build_and_run_instance (consumer)",
      "              boot guest (internal)",
      "              conductor/report_build (producer)",
      "                conductor/report_build (consumer)",
      "                  send instance.create.end (producer)",
      "                    process instance.create.end (consumer)",
      "                  scheduler/note_build (producer)",
      "                    scheduler/note_build (consumer)",
    ]
  `)
})

it('what fails is marked with the code of its error, on both sides', async () => {
  const { conductor } = await openCloud({ sev_slots: 0 })
  const unknown = '00000000-0000-4000-8000-000000000000'

  const traceId = await trace.getTracer('api').startActiveSpan('DELETE /servers', async (span) => {
    await conductor.deleteInstance(newRequestContext(), { instance_uuid: unknown }).catch(() => {})
    span.end()
    return span.spanContext().traceId
  })

  const failed = spansOf(traceId).filter(({ status }) => status.code === SpanStatusCode.ERROR)
  // Both begin within one millisecond, more often than not.
  const sides = failed.map(({ name, kind, attributes }) => [name, SpanKind[kind], attributes['error.type']])
  expect(sides.toSorted()).toEqual([
    ['conductor/delete_instance', 'CLIENT', 'INSTANCE_NOT_FOUND'],
    ['conductor/delete_instance', 'SERVER', 'INSTANCE_NOT_FOUND'],
  ])
})

it('a trace that its sender does not sample is carried on and not recorded', async () => {
  const { conductor, billed } = await openCloud({ sev_slots: 1 })
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
  const context = newRequestContext({ traceparent: `00-${traceId}-00f067aa0ba902b7-00` })

  await conductor.buildInstances(context, { name: 'sev', flavor: sevFlavor, image: anImage(), count: 1 })

  await vi.waitFor(() => expect(billed).toContain('instance.create.end'), SETTLE)
  expect(spansOf(traceId)).toEqual([])
})
