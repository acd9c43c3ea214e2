import { z } from 'zod'

/**
 * What a user gives his guest to do at first boot, base64: Nova's field, as long as Nova takes it. It often has passwords in
 * it, so it is no part of an Instance: it is in no answer, no notification and no log.
 */
export const UserData = z.base64().min(1).max(65_535)
