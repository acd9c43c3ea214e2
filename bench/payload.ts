import { z } from 'zod'

/** About 1 KB of JSON: boot this guest. The same for every peer. */
export const BootRequest = z.object({
  request_id: z.string(),
  project_id: z.string(),
  name: z.string().min(1).max(255),
  flavor: z.object({
    flavorid: z.string(),
    vcpus: z.int().positive(),
    memory_mb: z.int().positive(),
    root_gb: z.int().nonnegative(),
    extra_specs: z.record(z.string(), z.string()),
  }),
  image: z.object({
    id: z.uuid(),
    disk_format: z.string(),
    size: z.int().nonnegative(),
    properties: z.record(z.string(), z.string()),
  }),
  networks: z.array(z.object({ port_id: z.uuid(), mac_address: z.string(), fixed_ips: z.array(z.string()) })),
  attempt: z.int().positive(),
})
export type BootRequest = z.infer<typeof BootRequest>

/** About 300 bytes. */
export const BootReply = z.object({
  request_id: z.string(),
  host: z.string(),
  accepted: z.boolean(),
  claimed: z.object({ VCPU: z.int(), MEMORY_MB: z.int(), DISK_GB: z.int(), MEM_ENCRYPTION_CONTEXT: z.int() }),
})
export type BootReply = z.infer<typeof BootReply>

const uuid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

/** A fresh object for each call, as an application has. */
export function bootRequest(n: number): BootRequest {
  return {
    request_id: `req-${n}`,
    project_id: uuid(1),
    name: `web-${n}`,
    flavor: {
      flavorid: 'm1.sev',
      vcpus: 4,
      memory_mb: 8192,
      root_gb: 40,
      extra_specs: {
        'hw:mem_encryption': 'true',
        'hw:mem_encryption_model': 'amd-sev-es',
        'hw:cpu_policy': 'dedicated',
        'hw:watchdog_action': 'none',
      },
    },
    image: {
      id: uuid(2),
      disk_format: 'qcow2',
      size: 2_361_393_152,
      properties: {
        hw_firmware_type: 'uefi',
        hw_machine_type: 'q35',
        hw_disk_bus: 'scsi',
        hw_scsi_model: 'virtio-scsi',
        hw_vif_model: 'virtio',
        os_distro: 'debian',
        os_version: '12',
      },
    },
    networks: [1, 2, 3].map((port) => ({
      port_id: uuid(10 + port),
      mac_address: `fa:16:3e:00:00:0${port}`,
      fixed_ips: [`10.0.${port}.41`, `fd00:${port}::41`],
    })),
    attempt: 1,
  }
}

/** What every server does: look at the request, and build the answer from it. */
export function accept(request: BootRequest): BootReply {
  const { vcpus, memory_mb, root_gb, extra_specs } = request.flavor
  return {
    request_id: request.request_id,
    host: 'compute-017.rack4.example.org',
    accepted: request.networks.length > 0,
    claimed: {
      VCPU: vcpus,
      MEMORY_MB: memory_mb,
      DISK_GB: root_gb,
      MEM_ENCRYPTION_CONTEXT: extra_specs['hw:mem_encryption'] === 'true' ? 1 : 0,
    },
  }
}

/** @throws when the reply is not that of this request */
export function expectReplyTo(request: BootRequest, reply: BootReply): void {
  if (reply.request_id === request.request_id && reply.claimed.VCPU === request.flavor.vcpus) return
  throw new Error(`wrong reply to ${request.request_id}: ${JSON.stringify(reply)}`)
}

/** About 3 KB of JSON: what a notification carries. */
export function bootEvent(n: number): object {
  return {
    event: n,
    instance: bootRequest(n),
    volumes: Array.from({ length: 8 }, (_, index) => ({
      volume_id: uuid(100 + index),
      device_name: `/dev/sd${'bcdefghi'[index]}`,
      size_gb: 100 + index,
      delete_on_termination: false,
    })),
    security_groups: Array.from({ length: 8 }, (_, index) => ({ id: uuid(200 + index), name: `group-${index}` })),
    tags: Array.from({ length: 20 }, (_, index) => `tag-number-${index}`),
  }
}
