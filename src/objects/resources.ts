/** Resource classes and traits of OpenStack Placement (os-resource-classes, os-traits) that this project counts by. */
export const VCPU = 'VCPU'
export const MEMORY_MB = 'MEMORY_MB'
export const DISK_GB = 'DISK_GB'
/** One slot for a guest with its own memory encryption key (source: the spec, "Proposed change"). */
export const MEM_ENCRYPTION_CONTEXT = 'MEM_ENCRYPTION_CONTEXT'

export const HW_CPU_X86_AMD_SEV = 'HW_CPU_X86_AMD_SEV'
export const HW_CPU_X86_AMD_SEV_ES = 'HW_CPU_X86_AMD_SEV_ES'
export const HW_CPU_X86_AMD_SEV_SNP = 'HW_CPU_X86_AMD_SEV_SNP'
/** A flavor or image that speaks of a model's trait, also by the name that the spec has for it, and in granular groups. */
export const MODEL_TRAIT_SPEC = /^trait[^:]*:HW_CPU_(?:X86_)?AMD_SEV(_ES|_SNP)?$/
/** Nova marks the providers it owns, so that nobody else reshapes them. */
export const OWNER_NOVA = 'OWNER_NOVA'
