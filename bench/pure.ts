import { parseArgs } from 'node:util'
import { create } from 'xmlbuilder2'
import { buildDomain } from '../dist/compute/libvirt/build-domain.js'
import { domainXml } from '../dist/compute/libvirt/domain-xml.js'
import { guestSpec } from '../dist/compute/libvirt/guest-spec.js'
import { HostCapabilities } from '../dist/compute/libvirt/host-capabilities.js'
import { launchRequest } from '../dist/objects/launch-request.js'
import { launchFlavor, resourceRequest } from '../dist/objects/resource-request.js'
import { aCapableHost } from '../test/compute/support/hosts.ts'
import { anInstance } from '../test/compute/support/instances.ts'

const HELP = `Measures what is decided from values alone beside the least that could be done, in turns, and prints ratios.

  npm run bench:pure -- [--rounds N] [--ms N]

  --rounds N       turns of each side (default 9; the median counts)
  --ms N           CPU milliseconds of a turn (default 200)
`

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    ms: { type: 'string', default: '200' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}

const WARM_TURNS = 5

/** Two ways through the same input. */
interface Pair {
  readonly title: string
  readonly ours: () => unknown
  readonly yardstick: { readonly name: string; readonly run: () => unknown }
  /** The ratio wanted, at most. */
  readonly aim: number
}

const PAIRS: readonly Pair[] = [
  translation('encrypted', { 'hw:mem_encryption': 'true' }),
  translation('in clear', {}),
  rendering('encrypted', 'sev'),
  rendering('in clear', 'plain'),
]

for (const pair of PAIRS) console.log(measured(pair))

/** From a flavor and an image as they come off the wire to what placement is asked for. */
function translation(what: string, asked: Readonly<Record<string, string>>): Pair {
  const flavor = {
    flavorid: '7f2c0d54-9d0b-4a57-8a0c-3f1f2f1a9b10',
    name: 'm1.large',
    vcpus: 4,
    memory_mb: 8192,
    root_gb: 80,
    ephemeral_gb: 0,
    swap: 0,
    rxtx_factor: 1,
    vcpu_weight: 0,
    disabled: false,
    is_public: true,
    description: null,
    projects: null,
    extra_specs: {
      ...asked,
      'hw:cpu_policy': 'shared',
      'hw:mem_page_size': 'large',
      'hw_rng:allowed': 'true',
      'quota:disk_total_iops_sec': '5000',
      'aggregate_instance_extra_specs:rack': 'a',
    },
  }
  const image = {
    id: '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c1002',
    name: 'debian-12-genericcloud-amd64',
    disk_format: 'qcow2',
    container_format: 'bare',
    checksum: 'd41d8cd98f00b204e9800998ecf8427e',
    size: 2_147_483_648,
    min_ram: 0,
    min_disk: 10,
    properties: {
      hw_firmware_type: 'uefi',
      hw_machine_type: 'q35',
      hw_disk_bus: 'scsi',
      hw_scsi_model: 'virtio-scsi',
      hw_qemu_guest_agent: 'yes',
      os_distro: 'debian',
      os_version: '12',
      architecture: 'x86_64',
    },
  }
  const text = JSON.stringify({ flavor, image })
  const request = JSON.parse(text) as { flavor: typeof flavor; image: typeof image }
  return {
    title: `translating a request, ${what} (${text.length} bytes of JSON)`,
    ours: () => {
      const [{ encryption, memoryBacking }] = launchRequest(request.flavor, request.image).choices
      const launched = launchFlavor(request.flavor, encryption ?? null)
      return resourceRequest(launched, encryption ?? null, { locked: memoryBacking.locked })
    },
    yardstick: { name: 'JSON.parse', run: () => JSON.parse(text) },
    aim: 1,
  }
}

/** From an instance to its domain's document, beside the library alone writing the same tree. */
function rendering(what: string, kind: 'sev' | 'plain'): Pair {
  const instance = anInstance(kind === 'sev' ? { model: 'amd-sev' } : {})
  const host = HostCapabilities.parse(aCapableHost())
  const build = () => domainXml(buildDomain(guestSpec(instance), host))
  const tree = create(build()).end({ format: 'object' })
  const literal = () => create(tree).end({ prettyPrint: true, headless: true })
  if (literal() !== build()) throw new Error('the yardstick writes another document')
  return {
    title: `building and rendering a domain, ${what} (${build().length} bytes of XML)`,
    ours: build,
    yardstick: { name: 'xmlbuilder2', run: literal },
    aim: 1.3,
  }
}

function measured({ title, ours, yardstick, aim }: Pair): string {
  // Compilers work in threads of their own, and their CPU counts, too: until they have come to rest, nothing is measured.
  for (let warm = 0; warm < WARM_TURNS; warm++) for (const side of [ours, yardstick.run]) microseconds(side)
  const turns = Array.from({ length: Number(values.rounds) }, () => ({
    ours: microseconds(ours),
    theirs: microseconds(yardstick.run),
  }))
  const own = median(turns.map((turn) => turn.ours))
  const other = median(turns.map((turn) => turn.theirs))
  return `${title}: ${own.toFixed(2)} µs; ${yardstick.name} ${other.toFixed(2)} µs; ratio ${(own / other).toFixed(2)}, aim <= ${aim}`
}

/** CPU of one call, over as many as fill a turn. */
function microseconds(work: () => unknown): number {
  const before = process.cpuUsage()
  let calls = 0
  let spent = 0
  while (spent < Number(values.ms) * 1000) {
    for (let n = 0; n < 100; n++) if (work() === undefined) throw new Error('it gave nothing')
    calls += 100
    const { user, system } = process.cpuUsage(before)
    spent = user + system
  }
  return spent / calls
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] as number
}
