import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { attribute, child, children, parseXml, textOf, type XmlElement } from '../../src/compute/libvirt/parse-xml.ts'
import { fetchNewerLibvirt, findLibvirtTools } from '../servers/libvirt-tools.ts'
import { notRun } from '../servers/not-run.ts'

const FOLDER = 'test/compute/golden'
const NAME = 'sevbus-7d5d3a3e-0c0b-4c2f-9a51-2f6a8f0d1c11'
const files = readdirSync(FOLDER).filter((name) => name.endsWith('.xml'))
const needsSnp = (file: string) => readFileSync(join(FOLDER, file), 'utf8').includes('type="sev-snp"')

const installed = await findLibvirtTools()
const folder = await mkdtemp(join(tmpdir(), 'sevbus-libvirt-'))
const newer = installed?.knowsSnp ? installed : await fetchNewerLibvirt(folder)
afterAll(() => rm(folder, { recursive: true, force: true }))

if (installed === undefined) {
  const how = 'apt-get install libvirt-clients libxml2-utils (as root on Debian or Ubuntu the tests do this themselves)'
  notRun({ name: "libvirt's opinion on our documents", why: 'no virsh, xmllint or virt-xml-validate here', how })
}
if (newer === undefined) {
  const how = 'run the tests as root on Debian with its backports in reach, or with libvirt >= 10.5 installed'
  notRun({ name: "libvirt's opinion on SEV-SNP documents", why: 'no libvirt that knows sev-snp here', how })
}

const cases = files.flatMap((file) => {
  const tools = needsSnp(file) ? newer : installed
  const also = needsSnp(file) || newer === installed ? undefined : newer
  return [tools, also].flatMap((each) => (each === undefined ? [] : [{ file, tools: each, version: each.version }]))
})

describe.runIf(cases.length > 0).each(cases)('libvirt $version on $file', ({ file, tools }) => {
  const path = join(FOLDER, file)

  it('finds it valid by its schema', async () => {
    await expect(tools.validate(path)).resolves.toBeUndefined()
  })

  it('defines it, and gives it back unchanged in what matters', async () => {
    const given = parseXml(readFileSync(path, 'utf8'), 'domain', basename(file))
    const back = parseXml(await tools.defineAndDump(path, NAME), 'domain', 'what libvirt made of it')

    expect(whatMatters(back)).toEqual(expect.arrayContaining([...whatMatters(given)]))
    expect(iommus(back)).toEqual(iommus(given))
    expect(children(back, 'launchSecurity')).toHaveLength(children(given, 'launchSecurity').length)
  })
})

it.runIf(installed)('libvirt is really asked: what its schema does not have is refused', async () => {
  const broken = join(folder, 'broken.xml')
  const sev = readFileSync(join(FOLDER, 'sev.xml'), 'utf8')
  await writeFile(broken, sev.replace('<policy>', '<bogus/><policy>'))

  await expect(installed?.validate(broken)).rejects.toThrow('launchSecurity')
})

/** A line for each fact that libvirt must not drop or change; it adds addresses, aliases and devices of its own. */
function whatMatters(domain: XmlElement): readonly string[] {
  const of = (...path: string[]) => child(domain, ...path)
  const os = of('os')
  const security = of('launchSecurity')
  return [
    `machine ${attribute(of('os', 'type'), 'arch')} ${attribute(of('os', 'type'), 'machine')}`,
    `firmware ${attribute(os, 'firmware')} ${describeElement(child(os, 'loader'))} ${describeElement(child(os, 'nvram'))}`,
    `vmcoreinfo ${attribute(of('features', 'vmcoreinfo'), 'state')}`,
    `vcpu ${textOf(of('vcpu'))}`,
    `memory ${Number(textOf(of('memory'))) * (attribute(of('memory'), 'unit') === 'MiB' ? 1024 : 1)} KiB`,
    ...['locked', 'hugepages', 'source', 'access'].map(
      (name) => `${name} ${child(of('memoryBacking'), name) !== undefined}`,
    ),
    ...['cbitpos', 'reducedPhysBits', 'policy'].map((name) => `${name} ${textOf(child(security, name))}`),
    `launchSecurity ${describeElement(security)}`,
    `metadata ${describeElement(of('metadata', 'sevbus:instance', 'sevbus:memEncryption'))}`,
    ...devices(domain),
  ]
}

function devices(domain: XmlElement): readonly string[] {
  const all = (name: string) => children(child(domain, 'devices'), name)
  return [
    ...all('disk').map(
      (disk) =>
        `disk ${attribute(disk, 'device')} ${describeElement(child(disk, 'target'))} ${describeElement(child(disk, 'source'))} boot ${attribute(child(disk, 'boot'), 'order')}`,
    ),
    ...all('controller').map(
      (c) => `controller ${['type', 'index', 'model'].map((name) => attribute(c, name)).join()}`,
    ),
    ...all('interface').map(
      (i) => `interface ${attribute(child(i, 'mac'), 'address')} ${attribute(child(i, 'model'), 'type')}`,
    ),
    ...all('input').map((i) => `input ${attribute(i, 'type')} ${attribute(i, 'bus')}`),
    ...all('video').map((v) => `video ${attribute(child(v, 'model'), 'type')}`),
    ...all('memballoon').map((b) => `memballoon ${attribute(b, 'model')} ${attribute(child(b, 'stats'), 'period')}`),
    ...all('rng').map((r) => `rng ${attribute(r, 'model')} ${describeElement(child(r, 'rate'))}`),
  ]
}

/** Kinds of the devices that carry iommu, each as often as it does. */
function iommus(domain: XmlElement): readonly string[] {
  const found = Object.entries(child(domain, 'devices') ?? {}).flatMap(([name, elements]) =>
    typeof elements === 'string' ? [] : elements.map((device) => [name, attribute(child(device, 'driver'), 'iommu')]),
  )
  return found.flatMap(([name, iommu]) => (iommu === undefined ? [] : [`${name} ${iommu}`])).toSorted()
}

/** Attributes by name, and the text. */
function describeElement(element: XmlElement | undefined): string {
  if (element === undefined) return 'none'
  const attributes = Object.entries(element).filter(
    ([name, value]) => name.startsWith('@') && typeof value === 'string',
  )
  // Made up by libvirt's own reader where nothing is said.
  const own = attributes.filter(([name]) => name !== '@index')
  return `${own
    .map(([name, value]) => `${name}=${value}`)
    .toSorted()
    .join()} ${textOf(element)?.trim() ?? ''}`.trim()
}
