import type { Configurator } from './configurator.ts'

/** The first serial port by TCP, where the host's operator wants that; it is logged all the same. */
export const serialConsole: Configurator = (domain, { options: { serialConsole: tcp } }) => ({
  ...domain,
  serial: { ...domain.serial, tcp },
})
