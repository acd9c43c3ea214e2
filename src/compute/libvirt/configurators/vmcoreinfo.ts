import type { Configurator } from './configurator.ts'

/** Only for guests in clear: it is fed by DMA through fw_cfg, on which encrypted kernels crash (Nova's bug 2117170). */
export const vmcoreinfo: Configurator = (domain, { encryption }) => ({
  ...domain,
  vmcoreinfo: encryption === undefined,
})
