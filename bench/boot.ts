import { parseArgs } from 'node:util'
import { whyNoLibvirt, whyNoSevLibvirt } from '../test/servers/hypervisor.ts'
import { benchRealGuests } from './boot/real-guests.ts'
import { benchSimulatedHost } from './boot/simulated-host.ts'

const HELP = `Boots through the whole cloud (worker processes, a private RabbitMQ, a durable private PostgreSQL).

Real guests, by a private libvirt and QEMU, beside our libvirt client alone that defines and starts the same document, in turns;
disks are made before the clock runs. The clock runs from the answer that the request is accepted, or from the bare client's call,
until libvirt says that the guest runs, or the last one of several. The guests' firmware halts: they take no processor time.

Then guests on a simulated host: CPU of all processes, broker and database for a boot, and how many messages it is.

  npm run bench:boot -- [options]

  --only WHAT        real, or simulated (default both)
  --clear            real guests without encryption; without it they have SEV, where it can be emulated
  --ones N           turns with one guest (default 15)
  --bursts N         turns with several (default 3)
  --guests N         how many those are (default 50)
  --warm-up N        boots on a simulated host before the clock, of either kind (default 3000)
  --warm-bursts N    turns with several real guests before the clock (default 4)
  --boots N          on the simulated host, in a round (default 300)
  --rounds N         how many rounds (default 5)
  --in-flight LIST   how many boots at a time (default 1,32)
  --profile FOLDER   CPU profiles of the workers go there
`

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    clear: { type: 'boolean', default: false },
    ones: { type: 'string', default: '15' },
    bursts: { type: 'string', default: '3' },
    guests: { type: 'string', default: '50' },
    'warm-up': { type: 'string', default: '3000' },
    'warm-bursts': { type: 'string', default: '4' },
    boots: { type: 'string', default: '300' },
    rounds: { type: 'string', default: '5' },
    'in-flight': { type: 'string', default: '1,32' },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}

if (values.only !== 'simulated') await real()
if (values.only !== 'real') {
  await benchSimulatedHost({
    warmUp: Number(values['warm-up']),
    boots: Number(values.boots),
    rounds: Number(values.rounds),
    inFlight: values['in-flight'].split(',').map(Number),
    profileFolder: values.profile,
  })
}

async function real(): Promise<void> {
  const lack = await whyNoLibvirt()
  if (lack) return console.log(`no real guests: ${lack.why}; ${lack.how}`)
  await benchRealGuests({
    ones: Number(values.ones),
    bursts: Number(values.bursts),
    inFlight: Number(values.guests),
    warmUpBursts: Number(values['warm-bursts']),
    warmUpBoots: Number(values['warm-up']),
    profileFolder: values.profile,
    encrypted: !values.clear && !(await whyNoSevLibvirt()),
  })
}
