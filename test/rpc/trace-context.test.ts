import { defaultTextMapGetter, ROOT_CONTEXT, type SpanContext, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { spanContextOf, traceHeaders, withTrace } from '../../src/rpc/trace-context.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const traceparent = `00-${TRACE}-${SPAN}-01`

describe('the trace context', () => {
  it('is read from the headers of W3C Trace Context', () => {
    const span = spanContextOf({ traceparent, tracestate: 'vendor=a1,other=b2' })

    expect(span).toMatchObject({ traceId: TRACE, spanId: SPAN, traceFlags: 1, isRemote: true })
    expect(span?.traceState?.serialize()).toBe('vendor=a1,other=b2')
  })

  it('is written as it was read', () => {
    const headers = { traceparent, tracestate: 'vendor=a1,other=b2' }

    expect(traceHeaders(spanContextOf(headers) as SpanContext)).toEqual(headers)
    expect(withTrace({ ...newRequestContext(), ...headers })).toEqual({ headers })
  })

  it('of a later version is read as far as this one goes, and written as this one', () => {
    const later = spanContextOf({ traceparent: `cc-${TRACE}-${SPAN}-01-what-may-come` })

    expect(traceHeaders(later as SpanContext)).toEqual({ traceparent })
  })

  it.each([
    ['is missing', undefined],
    ['is no text', 7],
    ['is a table', { traceparent }],
    ['is empty', ''],
    ['has a trace of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
    ['has a span of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['is in upper case', traceparent.toUpperCase()],
    ['is of the version that never is', `ff-${TRACE}-${SPAN}-01`],
    ['has more than its version allows', `${traceparent}-more`],
    ['is longer than anybody reads', `cc-${TRACE}-${SPAN}-01-${'x'.repeat(1000)}`],
  ])('is none when traceparent %s', (_what, value) => {
    expect(spanContextOf({ traceparent: value, tracestate: 'vendor=a1' })).toBeUndefined()
  })

  it('goes on without a tracestate that is malformed or larger than all must pass on', () => {
    const withState = (tracestate: unknown) => withTrace({ ...newRequestContext(), traceparent, tracestate } as never)

    expect(withState('x'.repeat(600))).toEqual({ headers: { traceparent } })
    expect(withState(['vendor=a1'])).toEqual({ headers: { traceparent } })
    expect(withState('no pair')).toEqual({ headers: { traceparent } })
  })

  it('is nothing that a message carries when the request belongs to no trace', () => {
    expect(withTrace(newRequestContext())).toEqual({})
    expect(withTrace(newRequestContext({ traceparent: 'malformed' }))).toEqual({})
  })

  it("is understood as OpenTelemetry's own propagator understands it", () => {
    const propagator = new W3CTraceContextPropagator()
    const hex = (length: number) =>
      fc
        .array(fc.constantFrom(...'0123456789abcdef0g'), { minLength: length, maxLength: length })
        .map((c) => c.join(''))
    const text = fc.tuple(fc.constantFrom('00', '01', 'ff'), hex(32), hex(16), hex(2)).map((parts) => parts.join('-'))

    fc.assert(
      fc.property(fc.oneof(text, fc.string()), (given) => {
        const carrier = { traceparent: given }
        const theirs = trace.getSpanContext(propagator.extract(ROOT_CONTEXT, carrier, defaultTextMapGetter))

        expect(spanContextOf(carrier)).toEqual(theirs)
      }),
    )
  })
})
