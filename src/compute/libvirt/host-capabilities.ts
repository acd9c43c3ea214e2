import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'

/** What the host can do, decided from libvirt's domain capabilities and the kernel's parameters together. */
export interface HostCapabilities {
  readonly arch: string
  readonly defaultMachineType: string
  readonly supportsUefi: boolean
  /** Slots of each model that both libvirt and the kernel offer; models that are missing have a reason instead. */
  readonly slots: Readonly<Partial<Record<MemEncryptionModel, number>>>
  readonly missing: Readonly<Partial<Record<MemEncryptionModel, string>>>
  /** Position of the C-bit and the address bits it costs: processor facts that the domain document repeats. */
  readonly cbitpos: number | undefined
  readonly reducedPhysBits: number | undefined
}
