import { randomUUID } from 'node:crypto'
import { type ActOptions, act } from './act.ts'

interface SnapshotOptions extends ActOptions {
  readonly imageId?: string
}

export function snapshot(word: string, name: string, options: SnapshotOptions): Promise<number> {
  const image_id = options.imageId ?? randomUUID()
  return act([word], options, ({ conductor, context }, instance_uuid) =>
    conductor.createSnapshot(context, { instance_uuid, image_id, name }),
  )
}
