import { DiskCreationFailed, ImageDownloadFailed, ImageNotFound, ImageUnacceptable } from '../../errors.ts'
import { imageLabel } from '../../objects/image-meta.ts'
import type { ExaminedImage } from './examine-image.ts'
import type { ImageSource, StoredImage } from './image-source.ts'

/** @param sources that were looked into */
export function imageNotFound(image: StoredImage, sources: readonly ImageSource[]): ImageNotFound {
  const places = sources.map(({ description }) => description).join(' and ')
  const fix = 'put the image there under its id'
  return new ImageNotFound(`${places} ${sources.length > 1 ? 'have' : 'has'} no ${imageLabel(image)}; ${fix}`, {
    image: image.id,
    fix,
  })
}

export function refuseTooLargeDisk(image: StoredImage, { virtualBytes }: ExaminedImage, maxBytes: number): void {
  if (virtualBytes <= maxBytes) return
  const fix = 'raise compute.image_max_gb, or make the disk in the image smaller'
  throw new ImageUnacceptable(
    `${imageLabel(image)} is a disk of ${virtualBytes} bytes, ${maxBytes} are allowed; ${fix}`,
    {
      image: image.id,
      value: virtualBytes,
      fix,
    },
  )
}

export function noSpace(image: StoredImage, folder: string, needed: number, free: number): DiskCreationFailed {
  const fix = 'make room there, or lower compute.image_cache_max_gb'
  return new DiskCreationFailed(
    `${folder} has ${free} bytes left, but ${imageLabel(image)} needs ${needed} there; ${fix}`,
    { folder, value: free, needed, fix },
  )
}

export function tooSlow(image: StoredImage, timeoutMs: number): ImageDownloadFailed {
  const fix = 'raise compute.image_timeout_seconds, or look why the image store is slow'
  return new ImageDownloadFailed(`${imageLabel(image)} was not here after ${timeoutMs / 1000} s; ${fix}`, {
    image: image.id,
    value: timeoutMs / 1000,
    fix,
  })
}
