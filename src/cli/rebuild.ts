import { NewImageMeta } from '../objects/image-meta.ts'
import { fromCatalogue } from './catalogue.ts'
import { type MoveOptions, move } from './resize.ts'
import { loadCliConfig } from './session.ts'

export interface RebuildOptions extends MoveOptions {
  readonly image: string
  readonly loseEncryption?: boolean
}

/** @returns the exit code: refused when it was waited for, and the instance is what it was, or in ERROR */
export function rebuild(word: string, options: RebuildOptions): Promise<number> {
  const image = fromCatalogue('image', NewImageMeta, options.image, loadCliConfig(options).images)
  return move(word, options, ['completed'], ({ conductor, context }, instance_uuid) =>
    conductor.rebuildInstance(context, {
      instance_uuid,
      image,
      allow_encryption_loss: options.loseEncryption ?? false,
    }),
  )
}
