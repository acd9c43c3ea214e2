import { z } from 'zod'
import { domainOptions, guestNetwork, slotLimits } from '../compose/host-options.ts'
import { buildDomain } from '../compute/libvirt/build-domain.ts'
import { domainXml } from '../compute/libvirt/domain-xml.ts'
import type { HostCapabilities } from '../compute/libvirt/host-capabilities.ts'
import { InvalidArguments } from '../errors.ts'
import { NewFlavor } from '../objects/flavor.ts'
import { type ImageMeta, NewImageMeta } from '../objects/image-meta.ts'
import { type LaunchChoice, type LaunchRequest, launchRequest } from '../objects/launch-request.ts'
import { fromCatalogue } from './catalogue.ts'
import { EXIT } from './exit-codes.ts'
import { draftGuest } from './lint/draft-guest.ts'
import { readHostFile } from './lint/host-file.ts'
import type { LintOptions } from './lint.ts'
import { print, printJson } from './output.ts'
import { loadCliConfig } from './session.ts'

export interface XmlOptions extends LintOptions {
  readonly name?: string
  readonly uuid?: string
  readonly mac?: readonly string[]
  readonly network?: string
}

/** Writes the domain that a host would be given. @throws the refusal of flavor, image or host */
export async function xml(options: XmlOptions): Promise<number> {
  const config = loadCliConfig(options)
  const flavor = fromCatalogue('flavor', NewFlavor, options.flavor, config.flavors)
  const image = fromCatalogue('image', NewImageMeta, options.image, config.images)
  const host =
    options.host === undefined ? anyHost(image) : readHostFile(options.host, slotLimits(config.compute)).capabilities
  const { choices } = launchRequest(flavor, image)
  const { name, network } = options
  const ofHost = domainOptions(config.compute)
  const draft = {
    flavor,
    image,
    ...(name !== undefined && { name }),
    ...(options.uuid !== undefined && { uuid: checked('--uuid', z.guid(), options.uuid, 'write a uuid') }),
    macs: (options.mac ?? []).map((mac) => checked('--mac', InterfaceAddress, mac, MAC_FIX)),
    options: { ...ofHost, ...(network !== undefined && { network: guestNetwork({ network }) }) },
  }
  const document = domainOfFirst(choices, ({ encryption = null }) =>
    domainXml(buildDomain(draftGuest({ ...draft, encryption }), host)),
  )
  if (options.json) printJson({ xml: document })
  else print(document)
  return EXIT.OK
}

/** Of several models the first that the host can give, as at a boot. @throws what speaks against the best one */
function domainOfFirst([best, ...others]: LaunchRequest['choices'], document: (choice: LaunchChoice) => string) {
  try {
    return document(best)
  } catch (refusal) {
    for (const choice of others) {
      try {
        return document(choice)
      } catch {
        // What is told is what speaks against the model that was asked for first.
      }
    }
    throw refusal
  }
}

/** Without a host: one that has it all, with the C-bit where EPYC has it since Milan. */
function anyHost({ properties }: ImageMeta): HostCapabilities {
  const asked = properties.hw_machine_type
  return {
    arch: 'x86_64',
    defaultMachineType: 'q35',
    machineTypes: ['q35', 'pc', ...(typeof asked === 'string' ? [asked] : [])],
    supportsUefi: true,
    slots: { 'amd-sev': 1, 'amd-sev-es': 1, 'amd-sev-snp': 1 },
    missing: {},
    cbitpos: 51,
    reducedPhysBits: 1,
  }
}

/** The lowest bit of the first octet means a group (IEEE 802), which no interface has for its own; libvirt refuses it. */
const InterfaceAddress = z.mac().refine((mac) => Number.parseInt(mac.slice(0, 2), 16) % 2 === 0)
const MAC_FIX = 'write it as 52:54:00:12:34:56, with an even first octet: an odd one is a multicast address'

function checked(field: string, schema: z.ZodType<string>, value: string, fix: string): string {
  if (schema.safeParse(value).success) return value
  throw new InvalidArguments(`${field} is ${JSON.stringify(value)}; ${fix}`, { field, value, fix })
}
