import { slotLimits } from '../compose/host-options.ts'
import { NewFlavor } from '../objects/flavor.ts'
import { NewImageMeta } from '../objects/image-meta.ts'
import { fromCatalogue } from './catalogue.ts'
import { EXIT } from './exit-codes.ts'
import { readHostFile } from './lint/host-file.ts'
import { judge } from './lint/judgement.ts'
import { judgementText } from './lint/judgement-view.ts'
import { print, printJson } from './output.ts'
import { type GlobalOptions, loadCliConfig } from './session.ts'

export interface LintOptions extends GlobalOptions {
  readonly flavor: string
  readonly image: string
  /** A file that describes a host. */
  readonly host?: string
}

/** Says what a boot would come to; asks nobody. @returns the exit code: refused when it would be */
export async function lint(options: LintOptions): Promise<number> {
  const config = loadCliConfig(options)
  const flavor = fromCatalogue('flavor', NewFlavor, options.flavor, config.flavors)
  const image = fromCatalogue('image', NewImageMeta, options.image, config.images)
  const host = options.host === undefined ? undefined : readHostFile(options.host, slotLimits(config.compute))
  const judgement = judge(flavor, image, config, host)
  if (options.json) printJson(judgement)
  else print(judgementText(judgement, flavor.extra_specs))
  return judgement.verdict === 'ok' ? EXIT.OK : EXIT.REFUSED
}
