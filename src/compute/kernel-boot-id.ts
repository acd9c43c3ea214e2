import { readFile } from 'node:fs/promises'

/** Source: Linux, Documentation/admin-guide/sysctl/kernel.rst, "random". Containers see their machine's; empty where unknown. */
export async function kernelBootId(): Promise<string> {
  return await readFile('/proc/sys/kernel/random/boot_id', 'utf8').then(
    (text) => text.trim(),
    () => '',
  )
}
