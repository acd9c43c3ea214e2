import { describe, expect, it } from 'vitest'
import { consoleOutput } from '../../src/compute/consoles.ts'
import { DEFAULT_DOMAIN_OPTIONS } from '../../src/compute/libvirt/domain-options.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { booted } from './support/act.ts'
import { request, withWorker } from './support/compute-worker.ts'
import { anInstance } from './support/instances.ts'

const never = new AbortController().signal

const uuidOf = (n: number) => `99999999-0000-4000-8000-00000000000${n}`

const lastOf = (log: string | Buffer, lines?: number) => {
  const driver = { consoleLog: async () => Buffer.from(log) }
  return consoleOutput({ driver } as never, 'any', lines, never)
}

describe('what a guest has said', () => {
  it.each([
    ['a\nb\nc\n', undefined, 'a\nb\nc\n'],
    ['a\nb\nc\n', 2, 'b\nc\n'],
    ['a\nb\nc', 2, 'b\nc'],
    ['a\nb\n', 9, 'a\nb\n'],
    ['a\nb\n', 0, ''],
    ['', 5, ''],
  ])('%j: the last %s lines are %j', async (log, lines, expected) => {
    expect(await lastOf(log, lines)).toBe(expected)
  })

  it('is text, whatever bytes it wrote', async () => {
    expect(await lastOf(Buffer.from([0x61, 0xff, 0x0a]))).toBe('a\ufffd\n')
  })
})

describe('the consoles of a guest', () => {
  it('have a serial port each while they run, and no guest is built for which there is none', async () => {
    const serialConsole = { listen: '10.0.0.1', ports: [10_000, 10_001] } as const
    await withWorker({ domainOptions: { ...DEFAULT_DOMAIN_OPTIONS, serialConsole } }, async (worker) => {
      const portOf = async ({ uuid: instance_uuid }: Instance) =>
        (await worker.manager.getSerialConsole({ instance_uuid }, request)).console
      const [first, second] = [await booted(worker, { uuid: uuidOf(1) }), await booted(worker, { uuid: uuidOf(2) })]
      const at = (port: number) => ({ host: '10.0.0.1', port, tls_port: null, internal_access_path: null })
      expect([await portOf(first), await portOf(second)]).toEqual([at(10_000), at(10_001)])

      await booted(worker, { uuid: uuidOf(3) })
      expect((await worker.host.guests(never)).map(({ uuid }) => uuid)).toEqual([first.uuid, second.uuid])
      await worker.host.powerOff(first.uuid)
      await expect(portOf(first)).rejects.toMatchObject({ code: 'CONSOLE_NOT_AVAILABLE' })
      await worker.host.destroy(first.uuid)
      expect(await portOf(await booted(worker, { uuid: uuidOf(4) }))).toEqual(at(10_000))
    })
  })

  it('are told while it runs, where its host gives it a display', async () => {
    const graphics = { type: 'vnc', listen: '127.0.0.1' } as const
    await withWorker({ domainOptions: { ...DEFAULT_DOMAIN_OPTIONS, graphics } }, async ({ manager, ...worker }) => {
      const { uuid: instance_uuid } = await booted({ manager, ...worker })

      await expect(manager.getVncConsole({ instance_uuid }, request)).rejects.toMatchObject({
        code: 'CONSOLE_NOT_AVAILABLE',
      })
      await expect(manager.getSpiceConsole({ instance_uuid }, request)).rejects.toMatchObject({
        code: 'CONSOLE_TYPE_UNAVAILABLE',
      })
      await expect(manager.getSerialConsole({ instance_uuid }, request)).rejects.toMatchObject({
        code: 'CONSOLE_TYPE_UNAVAILABLE',
      })
      expect(await manager.getConsoleOutput({ instance_uuid }, request)).toEqual({ output: '' })
      await expect(manager.getConsoleOutput({ instance_uuid: anInstance().uuid }, request)).rejects.toMatchObject({
        code: 'GUEST_NOT_FOUND',
      })
    })
  })
})
