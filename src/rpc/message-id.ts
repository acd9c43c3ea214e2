import { randomFillSync } from 'node:crypto'

const BYTES = 16
const pool = Buffer.allocUnsafe(BYTES * 256)
let used = pool.length

/** 32 hex digits, as Python's `uuid4().hex`; from a pool, for each message has two. */
export function newMessageId(): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += BYTES
  return pool.toString('hex', used - BYTES, used)
}
