import type { SimulatedHost } from '../../compose/local-cloud.ts'

/**
 * Naples' 15 slots, and machines whose BIOS splits the keys between SEV and SEV-ES / SEV-SNP. Guests take as long to
 * start as QEMU does, so that a person can follow.
 */
export const DEMO_HOSTS: readonly SimulatedHost[] = [
  { host: 'epyc-1', fake: { sev_slots: 15, spawn_delay_ms: 320 } },
  { host: 'epyc-2', fake: { sev_slots: 15, spawn_delay_ms: 400 } },
  { host: 'milan-1', fake: { sev_slots: 5, sev_es_slots: 4, spawn_delay_ms: 450 } },
  { host: 'genoa-1', fake: { sev_snp_slots: 4, spawn_delay_ms: 500 } },
  { host: 'plain-1', fake: { spawn_delay_ms: 200 } },
]

/** Names of the sample catalogue. */
export interface BootStep {
  readonly kind: 'boot'
  readonly title: string
  readonly name: string
  readonly flavor: string
  readonly image: string
  readonly count: number
}

export interface DeleteStep {
  readonly kind: 'delete'
  readonly title: string
  readonly name: string
}

export type Step = BootStep | DeleteStep

/** Everything the mission promises, once: the slots fill up, the next is refused, a contradiction is refused earlier. */
export const DEMO_STEPS: readonly Step[] = [
  boot('plain guests, in clear', 'plain', 'm1.small', 'linux-bios', 5),
  boot('SEV, asked for by the flavor', 'web', 'm1.sev', 'linux-uefi', 18),
  boot('SEV, asked for by the image', 'db', 'm1.small', 'linux-encrypted', 17),
  boot('SEV-ES', 'vault', 'm1.sev-es', 'linux-uefi', 3),
  boot('SEV-SNP', 'secret', 'm1.sev-snp', 'linux-stateless', 3),
  boot('SEV, more than there are slots', 'late', 'm1.sev', 'linux-uefi', 3),
  { kind: 'delete', title: 'one is deleted, its slot is free again', name: 'web-18' },
  boot('SEV, into the slot that became free', 'next', 'm1.sev', 'linux-uefi', 1),
  boot('a flavor and an image that contradict each other', 'odd', 'm1.clear', 'linux-encrypted', 1),
]

function boot(title: string, name: string, flavor: string, image: string, count: number): BootStep {
  return { kind: 'boot', title, name, flavor, image, count }
}
