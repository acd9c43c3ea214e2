/** Highest number of a notification of an instance: PostgreSQL's `integer`, which counts them. */
export const MAX_SEQUENCE = 2 ** 31 - 1
