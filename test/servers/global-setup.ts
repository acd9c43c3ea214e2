import { randomUUID } from 'node:crypto'
import type { TestProject } from 'vitest/node'
import './provided-context.ts'
import type { InstalledRabbitMq } from '../../src/servers/installed-rabbitmq.ts'
import { ServerHome } from '../../src/servers/server-home.ts'
import { buildForTheRun } from './emulated-sev.ts'
import { findServers } from './find-servers.ts'
import { describeHypervisor, whyNoSevLibvirt } from './hypervisor.ts'
import { thisMachine } from './machine.ts'
import { dropDatabases } from './made-databases.ts'
import { describeOsloPeers } from './oslo-peers.ts'
import { keepTemporaryFilesIn } from './temporary-folder.ts'

/** Runs once before all test files; what it returns runs after them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { rabbitmq, postgres } = await findServers(await thisMachine(), { tell: (line) => console.log(line) }).catch(
    stop,
  )
  const home = await ServerHome.create('test')
  const release = await keepTemporaryFilesIn(home)
  project.provide('amqpUrl', rabbitmq.url)
  project.provide('databaseUrl', postgres.url)
  project.provide('brokerDescription', rabbitmq.description)
  project.provide('rabbitmqctl', (rabbitmq as Partial<InstalledRabbitMq>).rabbitmqctl)
  project.provide('databaseDescription', postgres.description)
  project.provide('osloPeers', await describeOsloPeers())
  if ((await whyNoSevLibvirt()) === undefined) await buildForTheRun(home.path('sev-emulator'))
  project.provide('hypervisor', await describeHypervisor())
  const databasePrefix = `sevbus_test_${randomUUID().slice(0, 8)}_`
  project.provide('databasePrefix', databasePrefix)
  project.provide('runFolder', home.folder)
  project.provide('notRunFile', home.path('not-run.jsonl'))
  return async () => {
    release()
    await dropDatabases(postgres.url, databasePrefix)
    await Promise.all([rabbitmq.close(), postgres.close(), home.close()])
  }
}

/** Nothing runs without the servers. Thrown, the error would come with a stack trace and a count of no tests. */
function stop(error: Error): never {
  console.error(`\n${error.message}\n`)
  process.exit(1)
}
