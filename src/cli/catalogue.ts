import type { z } from 'zod'
import { InvalidFile } from '../errors.ts'
import { type Flavor, NewFlavor } from '../objects/flavor.ts'
import { type ImageMeta, NewImageMeta } from '../objects/image-meta.ts'
import { MAX_DOCUMENT_BYTES, readNamedFile } from './named-file.ts'
import { describeProblems } from './wrong-document.ts'

/** Flavors and images to try the system with: what `demo` boots, and what `dev` offers by name. */
const MEMORY_ENCRYPTED = { 'hw:mem_encryption': 'true' }
const UEFI = { hw_firmware_type: 'uefi', hw_machine_type: 'q35' }

const SAMPLE_FLAVOR_ROWS = [
  { name: 'm1.small', extra_specs: {} },
  { name: 'm1.sev', extra_specs: MEMORY_ENCRYPTED },
  { name: 'm1.sev-es', extra_specs: { ...MEMORY_ENCRYPTED, 'hw:mem_encryption_model': 'amd-sev-es' } },
  { name: 'm1.sev-snp', extra_specs: { ...MEMORY_ENCRYPTED, 'hw:mem_encryption_model': 'amd-sev-snp' } },
  { name: 'm1.clear', extra_specs: { 'hw:mem_encryption': 'false' } },
]

export const SAMPLE_FLAVORS: Readonly<Record<string, Flavor>> = Object.fromEntries(
  SAMPLE_FLAVOR_ROWS.map((row) => [
    row.name,
    NewFlavor.parse({ ...row, flavorid: row.name, vcpus: 1, memory_mb: 2048, root_gb: 10 }),
  ]),
)

const SAMPLE_IMAGE_ROWS = [
  { id: '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c1001', name: 'linux-bios', properties: {} },
  { id: '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c1002', name: 'linux-uefi', properties: UEFI },
  {
    id: '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c1003',
    name: 'linux-encrypted',
    properties: { ...UEFI, hw_mem_encryption: true },
  },
  {
    id: '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c1004',
    name: 'linux-stateless',
    properties: { ...UEFI, hw_firmware_stateless: true },
  },
]

export const SAMPLE_IMAGES: Readonly<Record<string, ImageMeta>> = Object.fromEntries(
  SAMPLE_IMAGE_ROWS.map((row) => [
    row.name,
    NewImageMeta.parse({ ...row, disk_format: 'qcow2', container_format: 'bare' }),
  ]),
)

/**
 * A flavor or image as the command line names it: a name of the catalogue, or a JSON file.
 * @throws InvalidFile naming what was looked for and where
 */
export function fromCatalogue<T extends z.ZodType>(
  kind: 'flavor' | 'image',
  schema: T,
  word: string,
  catalogue: Readonly<Record<string, z.output<T>>>,
): z.output<T> {
  const named = Object.hasOwn(catalogue, word) ? catalogue[word] : undefined
  if (named !== undefined) return named
  const document = readJson(kind, word, Object.keys(catalogue))
  const parsed = schema.safeParse(document)
  if (parsed.success) return parsed.data
  throw new InvalidFile(`${word} is not a ${kind}: ${describeProblems(parsed.error, document)}`, {
    file: word,
    fix: `correct the named fields; see docs/configuration.md for a ${kind}`,
  })
}

function readJson(kind: string, file: string, names: readonly string[]): unknown {
  try {
    return JSON.parse(readNamedFile(file, MAX_DOCUMENT_BYTES).toString())
  } catch (error) {
    const catalogue = names.length > 0 ? `the catalogue has ${names.join(', ')}` : 'the configuration has no catalogue'
    throw new InvalidFile(
      `--${kind} ${file}: no ${kind} of that name (${catalogue}), and no JSON file: ${(error as Error).message}`,
      {
        file,
        fix: `name ${kind === 'image' ? 'an' : 'a'} ${kind} of the catalogue (section [${kind}s] of the configuration) or a JSON file`,
      },
    )
  }
}
