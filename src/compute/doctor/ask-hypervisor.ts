import { toSevbusError } from '../../errors.ts'
import { guestState } from '../libvirt/driver/guest-state.ts'
import { askLibvirt, type LibvirtAnswers } from '../libvirt/driver/host-facts.ts'
import { nodeResources } from '../libvirt/driver/node-resources.ts'
import type { Libvirt } from '../libvirt/rpc/libvirt.ts'
import type { DoctorOptions } from './doctor-options.ts'

/** What doctor asks libvirt; all of it changes nothing. */
export type HypervisorQuestions = Pick<
  Libvirt,
  | 'versions'
  | 'connectGetCapabilities'
  | 'connectGetDomainCapabilities'
  | 'nodeGetInfo'
  | 'networkIsActive'
  | 'connectGetAllDomainStates'
>

export interface HypervisorAnswers extends LibvirtAnswers {
  /** `9.0.0` */
  readonly libvirtVersion: string
  readonly qemuVersion: string
  readonly memoryMb: number
  readonly runningGuests: number
  /** Of the network that guests get; a text: why it cannot be told. Undefined: they get none of libvirt's. */
  readonly networkIsActive: boolean | string | undefined
}

/** It did not answer, or not all. */
export interface HypervisorSilence {
  readonly silence: string
  readonly fix: string | undefined
}

const HUNG = 'look whether it hangs: systemctl status libvirtd; or give it more time'

export async function askHypervisor(
  libvirt: HypervisorQuestions,
  options: DoctorOptions,
  signal: AbortSignal,
): Promise<HypervisorAnswers | HypervisorSilence> {
  try {
    const [answers, versions, { memory_mb }, domains, networkIsActive] = await Promise.all([
      askLibvirt(libvirt, options.hostOptions, signal),
      libvirt.versions({ signal }),
      nodeResources(libvirt, signal),
      libvirt.connectGetAllDomainStates({ signal }),
      askAboutNetwork(libvirt, options, signal),
    ])
    return {
      ...answers,
      libvirtVersion: versionText(versions.libvirt),
      qemuVersion: versionText(versions.hypervisor),
      memoryMb: memory_mb,
      runningGuests: domains.filter(({ state }) => guestState(state) === 'running').length,
      networkIsActive,
    }
  } catch (thrown) {
    if (signal.aborted) return { silence: 'it was asked, and did not answer in time (--timeout)', fix: HUNG }
    const { message, details } = toSevbusError(thrown)
    return { silence: message, fix: typeof details.fix === 'string' ? details.fix : undefined }
  }
}

async function askAboutNetwork(libvirt: HypervisorQuestions, { network }: DoctorOptions, signal: AbortSignal) {
  if (network.kind !== 'network') return undefined
  return await libvirt.networkIsActive(network.network, { signal }).catch((error: unknown) => {
    signal.throwIfAborted()
    return toSevbusError(error).message
  })
}

/** libvirt counts 1,000,000 × major + 1,000 × minor + release. */
function versionText(version: number): string {
  return [Math.floor(version / 1_000_000), Math.floor(version / 1000) % 1000, version % 1000].join('.')
}
