import type { Configurator } from './configurator.ts'

/** Names flavor, image, owner and effective encryption on the host itself. */
export const metadata: Configurator = (domain, guest) => ({
  ...domain,
  metadata: {
    instanceName: guest.name,
    flavorName: guest.flavor.name,
    imageId: guest.image.id ?? undefined,
    imageName: guest.image.name ?? undefined,
    projectId: guest.projectId,
    userId: guest.userId,
    encryption: guest.encryption,
    sha256: undefined,
  },
})
