/** Resource classes and traits of OpenStack Placement (os-resource-classes, os-traits) that this project counts by. */
export const VCPU = 'VCPU'
export const MEMORY_MB = 'MEMORY_MB'
export const DISK_GB = 'DISK_GB'
/** One slot for a guest with its own memory encryption key (source: the spec, "Proposed change"). */
export const MEM_ENCRYPTION_CONTEXT = 'MEM_ENCRYPTION_CONTEXT'

export const HW_CPU_X86_AMD_SEV = 'HW_CPU_X86_AMD_SEV'
export const HW_CPU_X86_AMD_SEV_ES = 'HW_CPU_X86_AMD_SEV_ES'
export const HW_CPU_X86_AMD_SEV_SNP = 'HW_CPU_X86_AMD_SEV_SNP'
/** Nova marks the providers it owns, so that nobody else reshapes them. */
export const OWNER_NOVA = 'OWNER_NOVA'
