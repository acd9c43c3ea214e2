import { describe, expect, it } from 'vitest'
import { lifecycleInWords, stateInWords } from '../../../../src/compute/libvirt/rpc/domain-words.ts'

describe("libvirt's numbers in words", () => {
  it.each([
    [0, 0, 'nostate', 'reason 0'],
    [1, 1, 'running', 'booted'],
    [1, 5, 'running', 'unpaused'],
    [1, 9, 'running', 'crashed'],
    [3, 1, 'paused', 'user'],
    [3, 5, 'paused', 'ioerror'],
    [3, 11, 'paused', 'starting_up'],
    [4, 1, 'shutdown', 'user'],
    [5, 0, 'shutoff', 'unknown'],
    [5, 3, 'shutoff', 'crashed'],
    [5, 6, 'shutoff', 'failed'],
    [5, 8, 'shutoff', 'daemon'],
    [5, 99, 'shutoff', 'reason 99'],
    [6, 1, 'crashed', 'panicked'],
    [7, 0, 'pmsuspended', 'reason 0'],
    [8, 1, 'unknown', 'reason 1'],
    [-1, 1, 'unknown', 'reason 1'],
  ])('state %i with reason %i: %s, %s', (state, reason, word, reasonWord) => {
    expect(stateInWords(state, reason)).toEqual({ state: word, reason: reasonWord })
  })

  // Pairs as `virsh event` names them.
  it.each([
    [0, 0, 'defined', 'added'],
    [0, 1, 'defined', 'updated'],
    [1, 0, 'undefined', 'removed'],
    [2, 0, 'started', 'booted'],
    [3, 0, 'suspended', 'paused'],
    [3, 2, 'suspended', 'ioerror'],
    [4, 0, 'resumed', 'unpaused'],
    [5, 0, 'stopped', 'shutdown'],
    [5, 1, 'stopped', 'destroyed'],
    [5, 2, 'stopped', 'crashed'],
    [5, 5, 'stopped', 'failed'],
    [6, 0, 'shutdown', 'finished'],
    [6, 1, 'shutdown', 'guest'],
    [6, 2, 'shutdown', 'host'],
    [7, 1, 'pmsuspended', 'disk'],
    [8, 0, 'crashed', 'panicked'],
    [8, 7, 'crashed', 'detail 7'],
    [9, 0, 'unknown', 'detail 0'],
    [-1, 0, 'unknown', 'detail 0'],
  ])('event %i with detail %i: %s, %s', (event, detail, word, detailWord) => {
    expect(lifecycleInWords(event, detail)).toEqual({ event: word, detail: detailWord })
  })
})
