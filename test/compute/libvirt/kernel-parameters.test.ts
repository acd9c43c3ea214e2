import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readKernelParameters } from '../../../src/compute/libvirt/kernel-parameters.ts'
import { aFolder } from '../support/folders.ts'

describe('kernel parameters', () => {
  it('are read as the kernel shows them, and are undefined where there are none', async () => {
    const root = await aFolder()
    const folder = join(root, 'sys/module/kvm_amd/parameters')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'sev'), 'Y\n')
    await writeFile(join(folder, 'sev_es'), '0\n')

    expect(await readKernelParameters(root)).toEqual({ sev: 'Y\n', sev_es: '0\n', sev_snp: undefined })
  })

  it('are all undefined on a machine without the module', async () => {
    expect(await readKernelParameters(await aFolder())).toEqual({
      sev: undefined,
      sev_es: undefined,
      sev_snp: undefined,
    })
  })
})
