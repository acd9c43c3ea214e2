import { NewImageMeta } from '../objects/image-meta.ts'
import { text } from '../objects/text.ts'
import { type ActOptions, act } from './act.ts'
import { fromCatalogue } from './catalogue.ts'
import { checkedWord, uuidWord } from './checked-word.ts'
import { loadCliConfig } from './session.ts'

interface SnapshotOptions extends ActOptions {
  readonly imageId?: string
}

export function snapshot(word: string, name: string, options: SnapshotOptions): Promise<number> {
  const image_id = uuidWord('--image-id', options.imageId)
  checkedWord(text(255).min(1), '<name>', name, 'write a name of 1 to 255 characters, none of them a control character')
  return act([word], options, ({ conductor, context }, instance_uuid) =>
    conductor.createSnapshot(context, { instance_uuid, image_id, name }),
  )
}

interface RescueOptions extends ActOptions {
  readonly image?: string
}

export function rescue(word: string, options: RescueOptions): Promise<number> {
  const { images } = loadCliConfig(options)
  const image = options.image === undefined ? undefined : fromCatalogue('image', NewImageMeta, options.image, images)
  return act([word], options, ({ conductor, context }, instance_uuid) =>
    conductor.rescueInstance(context, { instance_uuid, ...(image && { image }) }),
  )
}
