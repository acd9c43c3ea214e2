import { randomUUID } from 'node:crypto'
import type { Flavor } from '../../../src/objects/flavor.ts'
import { Flavor as FlavorSchema } from '../../../src/objects/flavor.ts'
import { ImageMeta } from '../../../src/objects/image-meta.ts'
import { Instance } from '../../../src/objects/instance.ts'
import type { MemEncryptionModel } from '../../../src/objects/mem-encryption.ts'
import { memEncryptionRequest } from '../../../src/objects/mem-encryption-request.ts'

export interface InstanceChanges {
  readonly uuid?: string
  readonly attempt?: number
  /** Absent: in clear. */
  readonly model?: MemEncryptionModel
  readonly flavor?: Partial<Flavor>
  /** Over those of the image; undefined takes one away. */
  readonly properties?: Readonly<Record<string, string | undefined>>
}

/** An instance as the conductor sends it: small, on a q35 UEFI image, encrypted when a model is named. */
export function anInstance({ uuid, attempt = 1, model, flavor, properties }: InstanceChanges = {}): Instance {
  const anEncryptedFlavor = FlavorSchema.parse({
    flavorid: 'f-1',
    name: 'm1.small',
    vcpus: 2,
    memory_mb: 2048,
    root_gb: 20,
    extra_specs: model ? { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': model } : {},
    ...flavor,
  })
  const image = ImageMeta.parse({
    id: '155d900f-4e14-4e4c-a73d-069cbf4541e6',
    name: 'debian-12',
    properties: withoutUndefined({
      hw_firmware_type: 'uefi',
      hw_machine_type: 'q35',
      ...(model === 'amd-sev-snp' && { hw_firmware_stateless: 'true' }),
      ...properties,
    }),
  })
  return Instance.parse({
    uuid: uuid ?? randomUUID(),
    name: 'vm-1',
    project_id: 'p-1',
    user_id: 'u-1',
    vm_state: 'building',
    task_state: 'scheduling',
    host: null,
    attempt,
    flavor: anEncryptedFlavor,
    image,
    mem_encryption: memEncryptionRequest(anEncryptedFlavor, image)[0] ?? null,
    ip_addresses: [{ address: '10.0.0.5', version: 4, mac: 'fa:16:3e:00:00:05', label: 'private' }],
    fault: null,
    created_at: '2026-01-01T00:00:00.000Z',
    updated_at: '2026-01-01T00:01:30.000Z',
    launched_at: null,
    terminated_at: null,
  })
}

/** As conductors send it when it is to be deleted. */
export function activeInstance(instance: Instance): Instance {
  return { ...instance, vm_state: 'active', task_state: null, launched_at: '2026-01-01T00:01:00.000Z' }
}

function withoutUndefined(properties: object): object {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined))
}
