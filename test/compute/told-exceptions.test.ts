import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { Journal } from '../../src/compute/journal/journal.ts'
import { exceptionTeller, tellingEndpoint } from '../../src/compute/told-exceptions.ts'
import { HypervisorUnavailable } from '../../src/errors.ts'
import { DEFAULT_NOTIFICATION_NAMES } from '../../src/notifications/notification.ts'
import { decodeEnvelope } from '../../src/rpc/envelope.ts'
import { silent } from '../support/transports.ts'
import { booted } from './support/act.ts'
import { aWorker, HOST, request } from './support/compute-worker.ts'
import { anInstance } from './support/instances.ts'

const outbox = { announce() {} }
const ABSENT = anInstance().uuid

/** What waits in a journal to be sent, as those read it who watch hosts. */
async function told(journal: Journal) {
  return (await journal.take(100)).map(({ to, body }) => {
    const { event_type, priority, payload, ...rest } = decodeEnvelope(Buffer.from(body), 'application/json')
    const { 'nova_object.data': data } = payload as { 'nova_object.data': Record<string, unknown> }
    return { to, event_type, priority, request_id: rest._context_request_id, ...data }
  })
}

describe('what fails on a host', () => {
  it('is told, by a message that outlasts the worker; the caller hears the same error as before', async () => {
    const worker = await aWorker()
    const { manager, journal, folder } = worker
    const tell = exceptionTeller({ host: HOST, journal, outbox, logger: silent }, DEFAULT_NOTIFICATION_NAMES)
    const endpoint = tellingEndpoint(manager, tell)
    const { uuid: instance_uuid } = await booted(worker)
    await worker.sent()

    expect(await endpoint.getConsoleOutput({ instance_uuid }, request)).toEqual({ output: '' })
    const failed = endpoint.getConsoleOutput({ instance_uuid: ABSENT }, request)
    await expect(failed).rejects.toMatchObject({ code: 'GUEST_NOT_FOUND' })
    await worker.close()

    const later = await Journal.open({ folder: join(folder, 'journal'), host: HOST })
    expect(await told(later)).toEqual([
      {
        to: { kind: 'notification', exchange: 'nova', topic: 'versioned_notifications', priority: 'error' },
        event_type: 'compute.exception',
        priority: 'ERROR',
        request_id: 'req-1',
        module_name: 'sevbus.compute',
        function_name: 'get_console_output',
        exception: 'GuestNotFound',
        exception_message: expect.stringContaining(ABSENT),
        traceback: expect.stringContaining('GuestNotFound: '),
      },
    ])
    await later.close()
  })

  it('is not told of an outage, which is waited for, nor to callers that have gone', async () => {
    const thrown: unknown[] = []
    const endpoint = (error: Error) =>
      tellingEndpoint({ getConsoleOutput: () => Promise.reject(error) } as never, async (it) => void thrown.push(it))
    const ask = (error: Error, signal: AbortSignal) =>
      endpoint(error).getConsoleOutput({ instance_uuid: ABSENT }, { ...request, signal })
    const worker = await aWorker()
    const { journal } = worker
    const tell = exceptionTeller({ host: HOST, journal, outbox, logger: silent }, DEFAULT_NOTIFICATION_NAMES)

    await expect(ask(new Error('gone'), AbortSignal.abort())).rejects.toThrow('gone')
    await expect(ask(new Error('here'), request.signal)).rejects.toThrow('here')
    await tell(new HypervisorUnavailable('libvirtd is away'), 'get_console_output', request.context)

    expect(thrown).toEqual([new Error('here')])
    expect(await told(journal)).toEqual([])
    await worker.close()
  })

  it('is told of work that breaks off behind a request that was taken', async () => {
    const heard: unknown[] = []
    let isGone = false
    const worker = await aWorker({
      tellException: async (thrown, failed, { request_id }) => void heard.push([String(thrown), failed, request_id]),
      beforeStep: (step) => {
        if (step === 'append' && isGone) throw new TypeError('undefined is not a function')
        isGone ||= step === 'destroy'
      },
    })
    const instance = await booted(worker)

    await worker.manager.terminateInstance({ instance, void: false }, request)

    await vi.waitFor(() =>
      expect(heard).toEqual([['TypeError: undefined is not a function', 'terminate_instance', 'req-1']]),
    )
    await worker.close()
  })
})
