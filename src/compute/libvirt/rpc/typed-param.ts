import { InvalidLibvirtMessage } from '../../../errors.ts'
import { type Codec, double, flag, hyper, int, list, text, uhyper, uint } from './codec.ts'

export type TypedValue = number | bigint | boolean | string

/** One of libvirt's named values; `type` is its virTypedParameterType. */
export interface TypedParam {
  readonly field: string
  readonly type: number
  readonly value: TypedValue
}

/** By virTypedParameterType, which begins with 1. Source: libvirt-common.h */
const TYPES = [undefined, int, uint, hyper, uhyper, double, flag, text] as readonly (Codec<TypedValue> | undefined)[]

function codecOf(type: number): Codec<TypedValue> {
  const codec = TYPES[type]
  if (codec === undefined) throw new InvalidLibvirtMessage(`a typed parameter of the unknown type ${type}`, { type })
  return codec
}

const typedParam: Codec<TypedParam> = {
  write(writer, { field, type, value }) {
    text.write(writer, field)
    int.write(writer, type)
    codecOf(type).write(writer, value)
  },
  read(reader) {
    const field = text.read(reader)
    const type = int.read(reader)
    return { field, type, value: codecOf(type).read(reader) }
  },
}

export function typedParams(most: number): Codec<readonly TypedParam[]> {
  return list(typedParam, most)
}

/** VIR_TYPED_PARAM_STRING_OKAY. Without this flag in a call libvirt leaves all texts out, and does not say so. */
export const TEXTS_WANTED = 4

export function byField(params: readonly TypedParam[]): Readonly<Record<string, TypedValue>> {
  return Object.fromEntries(params.map(({ field, value }) => [field, value]))
}
