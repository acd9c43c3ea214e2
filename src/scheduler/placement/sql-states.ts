/** SQLSTATEs that our triggers raise; the class `SV` is not PostgreSQL's. DETAIL has the facts as JSON. */
export const CLAIM_REFUSED_STATE = 'SV001'
export const USE_GUARDED_STATE = 'SV002'
