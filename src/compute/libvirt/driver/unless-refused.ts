import { isLibvirtError, type VIR_ERR } from '../rpc/remote-error.ts'

/** @returns undefined when libvirt refuses for one of these reasons */
export async function unlessRefused<T>(asked: Promise<T>, ...codes: readonly (typeof VIR_ERR)[keyof typeof VIR_ERR][]) {
  try {
    return await asked
  } catch (error) {
    if (codes.some((code) => isLibvirtError(error, code))) return undefined
    throw error
  }
}
