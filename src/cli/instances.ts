import { GuestNotFound } from '../errors.ts'
import { type Instance, VmState } from '../objects/instance.ts'
import { spelledChoice } from '../objects/spelled-value.ts'
import { type PageAfter, pages } from '../rpc/page.ts'
import { askEach, exitCodeOf, printAnswers } from './ask-each.ts'
import { actionLines, attemptLines, migrationLines } from './attempt-view.ts'
import { EXIT } from './exit-codes.ts'
import { findInstance } from './find-instance.ts'
import { instanceFacts, instanceTable } from './instance-view.ts'
import { print, printJson } from './output.ts'
import { type GlobalOptions, withSession } from './session.ts'

export interface ListOptions extends GlobalOptions {
  readonly host?: string
  readonly state?: string
}

export async function list(options: ListOptions): Promise<number> {
  return withSession(options, async ({ conductor, context }) => {
    const state = spelledChoice('the command line', '--state', options.state?.toLowerCase(), VmState.options)
    const query = { ...(options.host && { host: options.host }), ...(state && { vm_state: state }) }
    const instances: Instance[] = []
    const ask = async (after: PageAfter) => (await conductor.listInstances(context, { ...query, ...after })).instances
    for await (const page of pages(ask, ({ uuid }) => uuid)) instances.push(...page)
    if (options.json) printJson({ instances })
    else print(instanceTable(instances))
    return EXIT.OK
  })
}

export interface ShowOptions extends GlobalOptions {
  readonly xml?: boolean
}

export async function show(word: string, options: ShowOptions): Promise<number> {
  return withSession(options, async (session) => {
    const instance = await findInstance(session, word)
    if (!options.xml) {
      if (options.json) printJson({ instance })
      else print(instanceFacts(instance))
      return EXIT.OK
    }
    if (instance.host === null) {
      throw new GuestNotFound(`${instance.name} is ${instance.vm_state} and on no host: it has no domain`, {
        instance_uuid: instance.uuid,
        fix: `see what became of it with: sevbus explain ${instance.uuid}`,
      })
    }
    const to = { server: instance.host }
    const { xml } = await session.compute.getDomainXml(session.context, { instance_uuid: instance.uuid }, to)
    if (options.json) printJson({ instance_uuid: instance.uuid, host: instance.host, xml })
    else print(xml)
    return EXIT.OK
  })
}

export async function remove(words: readonly string[], options: GlobalOptions): Promise<number> {
  return withSession(options, async (session) => {
    const answers = await askEach(session, words, ({ conductor, context }, instance_uuid) =>
      conductor.deleteInstance(context, { instance_uuid }),
    )
    printAnswers(answers.accepted, answers, options)
    return exitCodeOf(answers)
  })
}

export async function explain(word: string, options: GlobalOptions): Promise<number> {
  return withSession(options, async (session) => {
    const { uuid } = await findInstance(session, word)
    const explanation = await session.conductor.explainInstance(session.context, { instance_uuid: uuid })
    if (options.json) printJson(explanation)
    else {
      const { instance, attempts, migrations = [], actions = [] } = explanation
      const parts = [instanceFacts(instance), actionLines(actions), migrationLines(migrations), attemptLines(attempts)]
      print(parts.filter((part) => part !== '').join('\n\n'))
    }
    return EXIT.OK
  })
}
