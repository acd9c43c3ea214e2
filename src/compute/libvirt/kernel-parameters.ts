import { join } from 'node:path'
import { readIfThere } from './read-if-there.ts'

/** Parameters of the module kvm_amd as the kernel shows them; undefined: it has none of this name. */
export interface KernelParameters {
  readonly sev: string | undefined
  readonly sev_es: string | undefined
  readonly sev_snp: string | undefined
}

const FOLDER = 'sys/module/kvm_amd/parameters'
/** What oslo.utils takes for true; kernels write `1`, later ones `Y` (Nova's bug 1975686). */
const ON = new Set(['1', 't', 'true', 'on', 'y', 'yes'])

export function isOn(parameter: string | undefined): boolean {
  return parameter !== undefined && ON.has(parameter.trim().toLowerCase())
}

/** @param root where `sys` is: `/` */
export async function readKernelParameters(root: string): Promise<KernelParameters> {
  const [sev, sev_es, sev_snp] = await Promise.all(
    ['sev', 'sev_es', 'sev_snp'].map((name) => readIfThere(join(root, FOLDER, name))),
  )
  return { sev, sev_es, sev_snp }
}
