/**
 * Who reports a host: the worker whose reports are taken (`worker_id`), the number of its latest (`report_sequence`),
 * both of migration 0003, and what a person needs to find it. These columns change with every sign of life: no trigger of
 * the feed may listen to them.
 */
export const WORKERS = `
  alter table compute_hosts
    -- \`process 4242 on machine node1\`, for words only.
    add column worker_place text,
    -- It has said goodbye: any worker may follow.
    add column worker_left  boolean not null default false;
`
