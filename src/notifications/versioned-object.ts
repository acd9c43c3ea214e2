import { z } from 'zod'
import { hot } from '../hot-schema.ts'

/** Nova's objects, for which consumers look, and those that Nova does not have. */
export type Namespace = 'nova' | 'sevbus'

/**
 * A versioned object as Nova serialises it. A minor version adds fields, a major one breaks; so a reader takes any
 * minor of the major it knows, and ignores fields it does not know.
 */
export interface VersionedObject<Name extends string, Data> {
  readonly 'nova_object.name': Name
  readonly 'nova_object.namespace': string
  readonly 'nova_object.version': string
  readonly 'nova_object.data': Data
}

export interface ObjectType<Name extends string, Data extends z.ZodType> {
  readonly name: Name
  readonly version: string
  readonly namespace: Namespace
  /** Reads objects of any minor version; writes this one. */
  readonly schema: z.ZodType<VersionedObject<Name, z.output<Data>>>
  /** Wraps data, checked: a payload that breaks its own contract must not leave the house. */
  readonly wrap: (data: z.input<Data>) => VersionedObject<Name, z.output<Data>>
}

export function objectType<const Name extends string, Data extends z.ZodType>(
  name: Name,
  version: string,
  data: Data,
  namespace: Namespace = 'nova',
): ObjectType<Name, Data> {
  const major = version.split('.')[0]
  const schema = z.looseObject({
    'nova_object.name': z.literal(name),
    'nova_object.namespace': z.string(),
    'nova_object.version': z.string().regex(new RegExp(`^${major}\\.\\d+$`), `only version ${major}.x is known`),
    'nova_object.data': data,
  }) as unknown as z.ZodType<VersionedObject<Name, z.output<Data>>>
  const wrap = (fields: z.input<Data>) => ({
    'nova_object.name': name,
    'nova_object.namespace': namespace,
    'nova_object.version': version,
    'nova_object.data': hot(data).parse(fields),
  })
  return Object.freeze({ name, version, namespace, schema, wrap })
}
