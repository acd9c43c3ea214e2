import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { whyNoSevLibvirt } from './hypervisor.ts'
import { startLibvirt } from './libvirt-daemon.ts'

const HELP = `An emulated SEV host to play with. It encrypts nothing: see sev-emulator/README.md.

  npm run --silent sev-host -- --name epyc-1 --max-asid 15 --min-sev-asid 5 > host.env
  . ./host.env && npx sevbus compute --host epyc-1          # in another terminal

Prints the variables of a worker for it, and runs until it is interrupted. All that it made is gone then.

  --name NAME           host name (sev-1)
  --max-asid N          number of keys (509)
  --min-sev-asid N      the first key for SEV; those below are for SEV-ES (100)
  --cbitpos N           (47)
  --delay-ms N          how long each command of the secure processor takes (0)
  --uefi WHICH          halting: guests halt at once and cost nothing; distribution: OVMF, and guests boot (halting)`

const { values } = parseArgs({
  options: {
    name: { type: 'string', default: 'sev-1' },
    'max-asid': { type: 'string', default: '509' },
    'min-sev-asid': { type: 'string', default: '100' },
    cbitpos: { type: 'string', default: '47' },
    'delay-ms': { type: 'string', default: '0' },
    uefi: { type: 'string', default: 'halting' },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) {
  console.log(HELP)
  process.exit(0)
}
const missing = await whyNoSevLibvirt()
if (missing) {
  console.error(`cannot run here: ${missing.why}. To run it: ${missing.how}`)
  process.exit(1)
}

const stopped = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
const host = await startLibvirt({
  name: values.name,
  uefi: values.uefi === 'distribution' ? 'distribution' : 'halting',
  sev: {
    cbitpos: Number(values.cbitpos),
    max_asid: Number(values['max-asid']),
    min_sev_asid: Number(values['min-sev-asid']),
    delay_ms: Number(values['delay-ms']),
  },
})
const [instances, images] = ['instances', 'images'].map((name) => join(host.folder, name)) as [string, string]
for (const folder of [instances, images]) await mkdir(folder)
const variables = {
  SEVBUS_COMPUTE_DRIVER: 'libvirt',
  SEVBUS_LIBVIRT_URI: host.uri,
  SEVBUS_LIBVIRT_HOST_ROOT: host.root,
  SEVBUS_COMPUTE_INSTANCES_PATH: instances,
  SEVBUS_COMPUTE_IMAGE_FOLDER: images,
  SEVBUS_COMPUTE_CPU_MODE: 'none', // any KVM has that
  SEVBUS_COMPUTE_NETWORK: 'none', // its network is its own
}
for (const [name, value] of Object.entries(variables)) console.log(`export ${name}='${value}'`)
console.error(`emulated SEV host ${values.name} runs and encrypts nothing; Ctrl-C ends it and removes ${host.folder}`)
const alive = setInterval(() => undefined, 60_000)
await stopped
clearInterval(alive)
await host.stop()
