import type { Configurator } from './configurator.ts'

/** A display, where the host's operator gives one to guests and the guest has a card to draw on. */
export const graphics: Configurator = (domain, { options: { graphics: given } }) => ({ ...domain, graphics: given })
