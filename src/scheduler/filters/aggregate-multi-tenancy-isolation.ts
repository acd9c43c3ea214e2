import { metadataWithPrefix } from '../aggregate-metadata.ts'
import { few } from '../few.ts'
import type { HostFilter } from './host-filter.ts'

/** Nova reads every key that begins so: `filter_tenant_id`, `filter_tenant_id_2`, … */
const KEY = 'filter_tenant_id'

/** Keeps the hosts of an aggregate with `filter_tenant_id` to the projects it names. They may use others, too. */
export const aggregateMultiTenancyIsolation: HostFilter = {
  name: 'AggregateMultiTenancyIsolation',
  isForComers: true,
  fix: 'let the project in: sevbus aggregate set NAME --metadata filter_tenant_id=PROJECT,…; or add hosts for all projects',
  concern: ({ spec }) => spec.project_id ?? '',
  reject: (host, { spec: { project_id: project } }) => {
    const kept = metadataWithPrefix(host, KEY)
    if (kept === undefined || (project !== null && kept.values.has(project))) return undefined
    const who = project === null ? 'the request is of no project' : `the request is of ${project}`
    return `aggregate ${few(kept.aggregates)} is kept for project ${few([...kept.values])}; ${who}`
  },
}
