import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

/** Reading and parsing notifications, one a line, and nothing else: the least that anybody does who bills by them. */
let uuids = 0
for await (const line of createInterface({
  input: createReadStream(process.argv[2]),
  crlfDelay: Number.POSITIVE_INFINITY,
})) {
  if (JSON.parse(line).payload['nova_object.data'] !== undefined) uuids += 1
}
console.log(uuids)
