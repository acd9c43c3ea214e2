import { z } from 'zod'

/** Nova's words for an instance in a notification. Source: nova/objects/fields.py of Nova 2025.2; all, not only those we use. */
export const InstanceStateWord = z.enum([
  ...(['active', 'building', 'paused', 'suspended', 'stopped', 'rescued', 'resized', 'soft-delete'] as const),
  ...(['deleted', 'error', 'shelved', 'shelved_offloaded'] as const),
])

export const PowerStateWord = z.enum(['pending', 'running', 'paused', 'shutdown', 'crashed', 'suspended'])

export const TaskStateWord = z.enum([
  ...(['scheduling', 'block_device_mapping', 'networking', 'spawning'] as const),
  ...(['image_snapshot', 'image_snapshot_pending', 'image_pending_upload', 'image_uploading', 'image_backup'] as const),
  'updating_password',
  ...(['resize_prep', 'resize_migrating', 'resize_migrated', 'resize_finish'] as const),
  ...(['resize_reverting', 'resize_confirming'] as const),
  ...(['rebooting', 'reboot_pending', 'reboot_started'] as const),
  ...(['rebooting_hard', 'reboot_pending_hard', 'reboot_started_hard'] as const),
  ...([
    'pausing',
    'unpausing',
    'suspending',
    'resuming',
    'powering-off',
    'powering-on',
    'rescuing',
    'unrescuing',
  ] as const),
  ...(['rebuilding', 'rebuild_block_device_mapping', 'rebuild_spawning', 'migrating'] as const),
  ...(['deleting', 'soft-deleting', 'restoring'] as const),
  ...(['shelving', 'shelving_image_pending_upload', 'shelving_image_uploading', 'shelving_offloading'] as const),
  'unshelving',
])

/** Nova's words alone: it has one for all stages of a live migration, and none for what is done to devices. */
export function taskWord(task: string | null | undefined): z.output<typeof TaskStateWord> | null {
  if (task?.startsWith('migrating')) return 'migrating'
  return TaskStateWord.safeParse(task).data ?? null
}
