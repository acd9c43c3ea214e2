import type { Migration } from '../database/migration.ts'

/** SQLSTATE of `make_all_steps` where one of them is not made. */
export const NOT_ALL_STEPS = 'SB001'

/** Instances and their tries: the conductor's tables. */
export const conductorMigrations: readonly Migration[] = [
  {
    id: 'conductor-0001-instances',
    sql: `
      CREATE TABLE instances (
        uuid uuid PRIMARY KEY,
        -- Order of acceptance: pages of a list are cut by it.
        position bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
        name text NOT NULL,
        project_id text,
        user_id text,
        vm_state text NOT NULL,
        task_state text,
        host text,
        attempt integer NOT NULL DEFAULT 1,
        flavor jsonb NOT NULL,
        image jsonb NOT NULL,
        mem_encryption jsonb,
        ip_addresses jsonb NOT NULL,
        fault jsonb,
        -- Who asked: goes with every message about this instance.
        context jsonb NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        launched_at timestamptz,
        terminated_at timestamptz
      );
      CREATE INDEX instances_live ON instances (position) WHERE vm_state <> 'deleted';
      CREATE INDEX instances_building ON instances (updated_at) WHERE vm_state = 'building';
      CREATE TABLE build_attempts (
        instance_uuid uuid NOT NULL REFERENCES instances (uuid) ON DELETE CASCADE,
        attempt integer NOT NULL,
        host text,
        outcome text NOT NULL,
        reason text,
        allocations jsonb NOT NULL DEFAULT '[]',
        report jsonb,
        started_at timestamptz NOT NULL,
        ended_at timestamptz,
        PRIMARY KEY (instance_uuid, attempt)
      );`,
  },
  {
    id: 'conductor-0002-zone-and-hints',
    sql: `
      ALTER TABLE instances
        -- As asked for, so that a later try asks for the same.
        ADD COLUMN availability_zone text,
        ADD COLUMN scheduler_hints jsonb NOT NULL DEFAULT '{}';`,
  },
  {
    id: 'conductor-0003-batches',
    sql: `
      -- Of instances that find hosts together or not at all; null: by itself.
      ALTER TABLE instances ADD COLUMN batch uuid;
      CREATE INDEX instances_waiting_of_batch ON instances (batch)
       WHERE batch IS NOT NULL AND vm_state = 'building' AND task_state = 'scheduling' AND attempt = 1;`,
  },
  {
    id: 'conductor-0004-migrations',
    sql: `
      CREATE TABLE migrations (
        uuid uuid PRIMARY KEY,
        instance_uuid uuid NOT NULL REFERENCES instances (uuid) ON DELETE CASCADE,
        type text NOT NULL,
        status text NOT NULL,
        -- What the instance goes back to when it does not arrive.
        source_host text NOT NULL,
        source_attempt integer NOT NULL,
        source_encryption jsonb,
        first_attempt integer NOT NULL,
        -- Only there; null: anywhere.
        asked_host text,
        dest_host text,
        -- A guest runs at the destination.
        arrived_at timestamptz,
        -- Who asked: goes with every message about the move.
        context jsonb NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        -- When the source was last asked to remove its guest.
        asked_at timestamptz NOT NULL
      );
      CREATE INDEX migrations_of_instance ON migrations (instance_uuid);
      CREATE UNIQUE INDEX migrations_one_at_a_time ON migrations (instance_uuid) WHERE status = 'accepted';
      CREATE INDEX migrations_leaving ON migrations (source_host, uuid) WHERE status IN ('accepted', 'done');
      DROP INDEX instances_building;
      -- All that somebody has to bring to an end.
      CREATE INDEX instances_unfinished ON instances (updated_at) WHERE task_state IS NOT NULL;`,
  },
  {
    id: 'conductor-0005-config-drive',
    sql: `
      ALTER TABLE instances
        ADD COLUMN config_drive boolean NOT NULL DEFAULT false,
        -- Null: without.
        ADD COLUMN user_data_digest text;
      -- Apart from the instances, which everybody may see, and gone when they are deleted.
      CREATE TABLE user_data (
        instance_uuid uuid PRIMARY KEY REFERENCES instances (uuid) ON DELETE CASCADE,
        content text NOT NULL
      );`,
  },
  {
    id: 'conductor-0006-instance-actions',
    sql: `
      CREATE TABLE instance_actions (
        instance_uuid uuid NOT NULL REFERENCES instances (uuid) ON DELETE CASCADE,
        -- Grows with each action of the instance: what comes late of an earlier one is known by it.
        number integer NOT NULL,
        -- Its name, and what was asked for beside it.
        action jsonb NOT NULL,
        status text NOT NULL,
        fault jsonb,
        -- Who asked: goes with every message about the action.
        context jsonb NOT NULL,
        started_at timestamptz NOT NULL,
        ended_at timestamptz,
        PRIMARY KEY (instance_uuid, number)
      );
      CREATE UNIQUE INDEX instance_actions_one_at_a_time ON instance_actions (instance_uuid) WHERE status = 'accepted';`,
  },
  {
    id: 'conductor-0007-attached-devices',
    sql: `
      ALTER TABLE instances
        ADD COLUMN volumes jsonb NOT NULL DEFAULT '[]',
        ADD COLUMN interfaces jsonb NOT NULL DEFAULT '[]';
      -- What its host told of an action that is completed.
      ALTER TABLE instance_actions ADD COLUMN result jsonb;`,
  },
  {
    id: 'conductor-0008-usage-audits',
    sql: `
      CREATE TABLE instance_usage_audits (
        ending timestamptz PRIMARY KEY,
        beginning timestamptz NOT NULL,
        -- Instances up to this one are told of.
        marker uuid,
        told bigint NOT NULL DEFAULT 0,
        finished_at timestamptz
      );`,
  },
  {
    id: 'conductor-0009-resizes',
    sql: `
      ALTER TABLE migrations
        -- Of a resize: what it had, and is to have. Null: the flavor stays as it is.
        ADD COLUMN source_flavor jsonb,
        ADD COLUMN new_flavor jsonb,
        -- What it is again when it rests.
        ADD COLUMN source_vm_state text,
        ADD COLUMN dest_encryption jsonb,
        -- As the source has made them ready for the destination.
        ADD COLUMN disks jsonb,
        -- Why it goes back; null: somebody wanted it.
        ADD COLUMN fault jsonb;
      DROP INDEX migrations_one_at_a_time;
      CREATE UNIQUE INDEX migrations_one_at_a_time ON migrations (instance_uuid)
       WHERE status IN ('accepted', 'finished', 'confirming', 'reverting');
      DROP INDEX migrations_leaving;
      CREATE INDEX migrations_leaving ON migrations (source_host, uuid)
       WHERE status IN ('accepted', 'finished', 'confirming', 'reverting', 'done');`,
  },
  {
    id: 'conductor-0010-fenced-destinations',
    sql: `
      -- The try of a move that was reverted, whose guest may be at the destination: that was fenced, and has not spoken since.
      ALTER TABLE migrations ADD COLUMN dest_attempt integer;
      CREATE INDEX migrations_left_at ON migrations (dest_host) WHERE dest_attempt IS NOT NULL;`,
  },
  {
    id: 'conductor-0011-rebuilds',
    sql: `
      ALTER TABLE migrations
        -- Of a rebuild: what it was booted from, and is to be booted from.
        ADD COLUMN source_image jsonb,
        ADD COLUMN new_image jsonb;`,
  },
  {
    id: 'conductor-0012-shelvings',
    sql: `
      -- What an instance waits as while it is shelved; gone when it runs again, or is deleted.
      CREATE TABLE shelvings (
        instance_uuid uuid PRIMARY KEY REFERENCES instances (uuid) ON DELETE CASCADE,
        image jsonb NOT NULL,
        -- Where the image was made, and is removed.
        host text NOT NULL,
        -- What it ran with: it runs again with no less.
        mem_encryption jsonb,
        -- The tries of its unshelving begin with this one; null: nobody has asked for it.
        first_attempt integer,
        -- Who asked: goes with every message about it.
        context jsonb NOT NULL
      );`,
  },
  {
    id: 'conductor-0013-unshelve-host',
    sql: `
      -- Only there; null: wherever a scheduler finds.
      ALTER TABLE shelvings ADD COLUMN asked_host text;`,
  },
  // The steps of a boot (steps.ts) and what was read of them. In functions their plans are kept, by each connection, where a
  // statement is parsed and planned each time: a fourth of what the database spends on a boot. Such a plan may have been made when
  // the tables were empty, so it is one by indexes, whose rows are looked up by the uuids.
  {
    id: 'conductor-0014-steps',
    sql: `
      CREATE FUNCTION begin_instances(
        asked jsonb, messages jsonb, bodies text[], its_owner text, lease_ms double precision,
        OUT uuids text[], OUT versions text[], OUT stored jsonb
      ) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
      #variable_conflict use_column
      DECLARE about uuid[];
      BEGIN
        WITH begun AS (
          INSERT INTO instances (uuid, name, project_id, user_id, vm_state, task_state, attempt, flavor, image,
            mem_encryption, availability_zone, scheduler_hints, ip_addresses, context, created_at, updated_at, batch,
            config_drive, user_data_digest)
          SELECT n.uuid, n.name, n.project_id, n.user_id, n.vm_state, n.task_state, n.attempt, n.flavor, n.image,
            n.mem_encryption, n.availability_zone, n.scheduler_hints, n.ip_addresses, n.context, n.created_at,
            n.updated_at, n.batch, n.config_drive, n.user_data_digest
            FROM jsonb_populate_recordset(NULL::instances, begin_instances.asked) n
          ON CONFLICT (uuid) DO NOTHING RETURNING uuid, attempt, created_at, xmin::text AS version
        ), tried AS (
          INSERT INTO build_attempts (instance_uuid, attempt, outcome, started_at)
          SELECT uuid, attempt, 'scheduling', created_at FROM begun
        )
        SELECT array_agg(b.uuid ORDER BY b.uuid), array_agg(b.version ORDER BY b.uuid) INTO about, versions FROM begun b;
        uuids := about::text[];
        stored := outbox_put(its_owner, messages, bodies, lease_ms, 0, COALESCE(about, '{}') || '00000000-0000-0000-0000-000000000000'::uuid);
      END $$;
      CREATE FUNCTION make_steps(
        asked jsonb, messages jsonb, bodies text[], its_owner text, lease_ms double precision, asked_uuids uuid[],
        OUT uuids text[], OUT versions text[], OUT stored jsonb
      ) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
        SET enable_mergejoin = off AS $$
      #variable_conflict use_column
      DECLARE about uuid[];
      BEGIN
        WITH asked AS (
          SELECT * FROM jsonb_to_recordset(make_steps.asked) AS a (uuid uuid, version text, vm_state text, task_state text,
            host text, mem_encryption jsonb, launched_at timestamptz, updated_at timestamptz, attempt integer, outcome text,
            ended_at timestamptz, try_host text, allocations jsonb, report jsonb)
        ), changed AS (
          UPDATE instances i SET vm_state = a.vm_state, task_state = a.task_state, host = a.host,
                 mem_encryption = a.mem_encryption, launched_at = a.launched_at, updated_at = a.updated_at
            FROM asked a WHERE i.uuid = ANY(asked_uuids) AND i.uuid = a.uuid AND i.xmin::text = a.version
          RETURNING i.uuid, i.xmin::text AS version
        ), tried AS (
          UPDATE build_attempts t SET outcome = a.outcome, ended_at = COALESCE(a.ended_at, t.ended_at),
                 host = COALESCE(a.try_host, t.host), allocations = COALESCE(a.allocations, t.allocations),
                 report = COALESCE(a.report, t.report)
            FROM changed JOIN asked a USING (uuid) WHERE t.instance_uuid = a.uuid AND t.attempt = a.attempt
        )
        SELECT array_agg(c.uuid ORDER BY c.uuid), array_agg(c.version ORDER BY c.uuid) INTO about, versions FROM changed c;
        uuids := about::text[];
        stored := outbox_put(its_owner, messages, bodies, lease_ms, 0, COALESCE(about, '{}') || '00000000-0000-0000-0000-000000000000'::uuid);
      END $$;`,
  },
  {
    id: 'conductor-0015-all-steps',
    sql: `
      -- For messages that are about many, and true only if all of their steps are made: all of them are, or nothing is stored.
      CREATE FUNCTION make_all_steps(
        asked jsonb, messages jsonb, bodies text[], its_owner text, lease_ms double precision, asked_uuids uuid[],
        OUT uuids text[], OUT versions text[], OUT stored jsonb
      ) LANGUAGE plpgsql AS $$
      BEGIN
        SELECT m.uuids, m.versions, m.stored INTO uuids, versions, stored FROM make_steps($1, $2, $3, $4, $5, $6) m;
        IF cardinality(uuids) IS DISTINCT FROM cardinality(asked_uuids) THEN
          RAISE EXCEPTION 'not all of the steps can be made' USING ERRCODE = '${NOT_ALL_STEPS}';
        END IF;
      END $$;`,
  },
]
