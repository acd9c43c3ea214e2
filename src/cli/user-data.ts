import { InvalidFile } from '../errors.ts'
import { UserData } from '../objects/user-data.ts'
import { readNamedFile } from './named-file.ts'

/** Three bytes become four letters of base64. */
const MAX_BYTES = 49_149

/** The content of the file as requests carry it; what is in it is told to nobody. @throws InvalidFile */
export function readUserData(path: string): string {
  const fix = `take a file of 1 to ${MAX_BYTES} bytes`
  let content: Buffer
  try {
    content = readNamedFile(path, MAX_BYTES)
  } catch (error) {
    throw new InvalidFile(`--user-data ${path} cannot be read: ${(error as Error).message}; ${fix}`, { path, fix })
  }
  const encoded = content.toString('base64')
  if (UserData.safeParse(encoded).success) return encoded
  throw new InvalidFile(`--user-data ${path} has ${content.length} bytes; ${fix}`, { path, value: content.length, fix })
}
