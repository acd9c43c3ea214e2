/**
 * oslo.messaging's rule: the majors are equal, and the asked minor (and revision) is at most the implemented one.
 * Anything that is not numbers and dots is incompatible.
 */
export function isCompatible(implemented: string, requested: string): boolean {
  const [ours, theirs] = [parts(implemented), parts(requested)]
  if (ours === undefined || theirs === undefined || ours.major !== theirs.major) return false
  if (theirs.minor !== ours.minor) return theirs.minor < ours.minor
  return theirs.revision <= ours.revision
}

function parts(version: string): { major: number; minor: number; revision: number } | undefined {
  const match = /^(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?$/.exec(version)
  if (match === null) return undefined
  return { major: Number(match[1]), minor: Number(match[2]), revision: Number(match[3] ?? 0) }
}
