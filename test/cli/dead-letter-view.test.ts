import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { letterContent, letterFacts, letterTable, letterText } from '../../src/cli/dead-letter-view.ts'
import type { DeadLetter } from '../../src/rpc/dead-letter-box.ts'

function aLetter(given: Partial<DeadLetter> = {}): DeadLetter {
  return {
    id: 'l1',
    parkedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5),
    queue: 'sevbus-compute.node1',
    method: 'build_and_run_instance',
    errorCode: 'SPAWN_FAILED',
    error: 'it did not start',
    tries: 5,
    userId: 'sevbus',
    contentType: 'application/json',
    trace: {},
    body: Buffer.from('{}'),
    ...given,
  }
}

const HOSTILE = 'gone\u001b]0;owned\u0007\n\u009b2J\u202emirrored'

describe('a dead letter', () => {
  it('is a line with when, where, what, how often, how large and why', () => {
    expect(stripVTControlCharacters(letterTable([aLetter()])).split('\n')).toEqual([
      'ID  PARKED AT            QUEUE                 METHOD                  TRIES  BYTES  CODE          REASON',
      'l1  2026-01-02 03:04:05  sevbus-compute.node1  build_and_run_instance  5      2      SPAWN_FAILED  it did not start',
    ])
  })

  it('does nothing to the terminal, whatever a peer wrote into its error, its queue or its body', () => {
    const letter = aLetter({ error: HOSTILE, queue: HOSTILE, body: Buffer.from(JSON.stringify({ name: HOSTILE })) })

    const shown = [letterTable([letter]), letterFacts(letter), letterText(letter)].map(stripVTControlCharacters)

    for (const text of shown) {
      expect(text).toContain(String.raw`\u001b]0;owned`)
      expect(text).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u)
    }
    expect(JSON.parse(letterText(letter))).toEqual({ name: HOSTILE })
  })

  it('shows of its context who asked, and hides the rest', () => {
    const message = { method: 'ping', _context_request_id: 'req-1', _context_auth_token: 'gAAAA', _context_x: null }
    const body = Buffer.from(JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': JSON.stringify(message) }))

    expect(letterContent(aLetter({ body }))).toEqual({ ...message, _context_auth_token: '[hidden]' })
  })

  it('shows nothing of the context of a request that was cut off, or is no JSON', () => {
    const body = Buffer.from('{"method": "ping", "_context_auth_token": "gAAAA')

    expect(letterContent(aLetter({ body }))).toBe(String.raw`{\"method\": \"ping\", \"… (48 bytes)`)
  })
})
