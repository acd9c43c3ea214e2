import { ImageFolder } from './image-folder.ts'
import { ImageServer } from './image-server.ts'
import type { ImageSource } from './image-source.ts'
import { ImageStore } from './image-store.ts'

/** Where an operator has images: by id in a folder; at a URL with `{id}`. Either, both or none. */
export interface ImagePlaces {
  readonly imageFolder: string | undefined
  readonly imageUrl: string | undefined
}

/** To be looked into, in their order. */
export function imageSources({ imageFolder, imageUrl }: ImagePlaces): readonly ImageSource[] {
  return [
    ...(imageFolder === undefined ? [] : [new ImageFolder(imageFolder)]),
    ...(imageUrl === undefined ? [] : [new ImageServer(imageUrl)]),
  ]
}

/** Where images can be added; undefined: nowhere. */
export function imageStore({ imageFolder }: ImagePlaces): ImageStore | undefined {
  return imageFolder === undefined ? undefined : new ImageStore(imageFolder)
}
