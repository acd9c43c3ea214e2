/**
 * Every error that leaves a module, in one table: the code survives the bus, the class is rebuilt from it.
 *
 * A code never changes its meaning and is never reused; `docs/errors.md` lists them all and a test compares the two.
 * By convention `details.fix` says what to do; messages name the field and the value that were wrong.
 */
export type ErrorDetails = Readonly<Record<string, unknown>>

export abstract class SevbusError extends Error {
  /** Stable identifier, the one thing that programs may match on. */
  abstract readonly code: string
  /** Could another host, or a later moment, succeed? */
  abstract readonly retryable: boolean
  /** Nothing of this kind works now, whatever is asked: wait, and do not blame the message. */
  abstract readonly isOutage: boolean
  /** Python module named on the wire: Nova's where Nova has the class, so that oslo.messaging peers rebuild it. */
  abstract readonly wireModule: string
  /** JSON-safe facts, never secrets. */
  readonly details: ErrorDetails

  constructor(message: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(message, options)
    this.details = details
    this.name = new.target.name
  }
}

const NOVA = 'nova.exception'
const OURS = 'sevbus.errors'

/** Written out, for declarations that need no types of Node's: an inferred class would bring Error's static side. */
interface PublishedError {
  new (message: string, details?: ErrorDetails, options?: ErrorOptions): Pick<SevbusError, keyof SevbusError>
  readonly code: string
}

function published(code: string, { retryable = false, isOutage = false, wireModule = OURS } = {}): PublishedError {
  return class extends SevbusError {
    readonly code = code
    readonly retryable = retryable
    readonly isOutage = isOutage
    readonly wireModule = wireModule
    static readonly code = code
  }
}

// -- what a request asks for ------------------------------------------------------------------------------------

/** Flavor and image contradict each other, or the image cannot carry what the flavor asks. */
export class FlavorImageConflict extends published('FLAVOR_IMAGE_CONFLICT', { wireModule: NOVA }) {}
/** The machine type cannot host an encrypted guest (q35 is needed). */
export class InvalidMachineType extends published('INVALID_MACHINE_TYPE', { wireModule: NOVA }) {}
/** SEV-SNP needs `hw_firmware_stateless=True` on the image. */
export class StatelessFirmwareRequired extends published('STATELESS_FIRMWARE_REQUIRED', { wireModule: NOVA }) {}
/** Secure boot is required, which no host here offers. */
export class SecureBootNotSupported extends published('SECURE_BOOT_NOT_SUPPORTED', { wireModule: NOVA }) {}
/** Flavor and image differ on locked memory. */
export class FlavorImageLockedMemoryConflict extends published('FLAVOR_IMAGE_LOCKED_MEMORY_CONFLICT', {
  wireModule: NOVA,
}) {}
/** Locked memory was asked for without a page size, which Nova's rule wants beside it. */
export class LockMemoryForbidden extends published('LOCK_MEMORY_FORBIDDEN', { wireModule: NOVA }) {}
/** A page size that is none. */
export class MemoryPageSizeInvalid extends published('MEMORY_PAGE_SIZE_INVALID', { wireModule: NOVA }) {}
/** The image asks for a page size that the flavor does not allow. */
export class MemoryPageSizeForbidden extends published('MEMORY_PAGE_SIZE_FORBIDDEN', { wireModule: NOVA }) {}
/** The image needs more memory (`min_ram`) than the flavor has. */
export class FlavorMemoryTooSmall extends published('FLAVOR_MEMORY_TOO_SMALL', { wireModule: NOVA }) {}
/** The image needs a larger root disk (`min_disk`, or its own size) than the flavor has. */
export class FlavorDiskTooSmall extends published('FLAVOR_DISK_TOO_SMALL', { wireModule: NOVA }) {}
/** An extra spec or image property has a value nobody can mean (`hw:mem_encryption=tru`). */
export class InvalidProperty extends published('INVALID_PROPERTY') {}
/** Arguments of an RPC method do not fit its contract. */
export class InvalidArguments extends published('INVALID_ARGUMENTS') {}
/** No instance has this uuid. */
export class InstanceNotFound extends published('INSTANCE_NOT_FOUND', { wireModule: NOVA }) {}
/** The instance is in a state that does not allow the operation. */
export class InstanceInvalidState extends published('INSTANCE_INVALID_STATE', { wireModule: NOVA }) {}
/** Its encryption does not let this be done: nobody can read, or move, the memory of such a guest. */
export class OperationNotSupportedForSEV extends published('OPERATION_NOT_SUPPORTED_FOR_SEV', { wireModule: NOVA }) {}
/** The instance has no device of this name. */
export class DeviceNotFound extends published('DEVICE_NOT_FOUND', { wireModule: NOVA }) {}
/** The instance has the flavor already that it is to be resized to. */
export class CannotResizeToSameFlavor extends published('CANNOT_RESIZE_TO_SAME_FLAVOR', { wireModule: NOVA }) {}
/** The new flavor has a smaller disk than the instance. */
export class CannotResizeDisk extends published('CANNOT_RESIZE_DISK', { wireModule: NOVA }) {}
/** Rebuilt from this image the instance would be encrypted less than it is, and nobody has said that it may. */
export class RebuildLosesEncryption extends published('REBUILD_LOSES_ENCRYPTION') {}
/** An instance with this uuid exists already, with another request. */
export class InstanceExists extends published('INSTANCE_EXISTS', { wireModule: NOVA }) {}

// -- finding and claiming a host --------------------------------------------------------------------------------

/** No host can take the request; `details.report` says, host by host, why. */
export class NoValidHost extends published('NO_VALID_HOST', { wireModule: NOVA }) {}
/** Every try on a host failed and the retry limit is reached. */
export class MaxRetriesExceeded extends published('MAX_RETRIES_EXCEEDED', { wireModule: NOVA }) {}
/** A claim would exceed an inventory; the database refused it. */
export class ClaimRefused extends published('CLAIM_REFUSED', { retryable: true }) {}
/** A later attempt has claimed, or the instance has given its claim back: this attempt is void. */
export class StaleAttempt extends published('STALE_ATTEMPT') {}
/** A report of a host's inventory that cannot be true. */
export class InvalidInventory extends published('INVALID_INVENTORY', { wireModule: NOVA }) {}
/** Two workers say that they are the same host: the one that is not taken is told this, and serves nothing. */
export class DuplicateHost extends published('DUPLICATE_HOST', { retryable: true }) {}
/** A report of a host that is not newer than what is known of it. */
export class StaleReport extends published('STALE_REPORT') {}
/** No host of this name has ever reported. */
export class ComputeHostNotFound extends published('COMPUTE_HOST_NOT_FOUND', { wireModule: NOVA }) {}
/** The host is up, and what is asked for is for hosts that are down. */
export class ComputeServiceInUse extends published('COMPUTE_SERVICE_IN_USE', { wireModule: NOVA }) {}
/** No aggregate has this name. */
export class AggregateNotFound extends published('AGGREGATE_NOT_FOUND', { wireModule: NOVA }) {}
/** An aggregate has this name already. */
export class AggregateNameExists extends published('AGGREGATE_NAME_EXISTS', { wireModule: NOVA }) {}
/** The aggregate has hosts still, or one of its hosts would be in two zones. */
export class InvalidAggregateAction extends published('INVALID_AGGREGATE_ACTION', { wireModule: NOVA }) {}
/** No server group has this uuid. */
export class InstanceGroupNotFound extends published('INSTANCE_GROUP_NOT_FOUND', { wireModule: NOVA }) {}

// -- on the host ------------------------------------------------------------------------------------------------

/** The hypervisor could not start the guest; another host may. */
export class SpawnFailed extends published('SPAWN_FAILED', { retryable: true }) {}
/** The memory controller has no free encryption key (ASID) although placement counted one. */
export class EncryptionSlotsExhausted extends published('ENCRYPTION_SLOTS_EXHAUSTED', { retryable: true }) {}
/** The guest ran, but not encrypted as asked: it was taken down. */
export class EncryptionNotEffective extends published('ENCRYPTION_NOT_EFFECTIVE', { retryable: true }) {}
/** The allocations of a try are not what its guest runs with: a slot too many, too few, or of another pool. */
export class ClaimMismatch extends published('CLAIM_MISMATCH', { retryable: true }) {}
/** The host lacks what the guest needs (model, firmware, machine type, a program that makes its disks). */
export class HostCapabilityMissing extends published('HOST_CAPABILITY_MISSING', { retryable: true }) {}
/** The image store of this host has no image of this id; another host's may. */
export class ImageNotFound extends published('IMAGE_NOT_FOUND', { wireModule: NOVA, retryable: true }) {}
/** The image is no disk that a guest may have here: not what its `disk_format` says, or it names other files. */
export class ImageUnacceptable extends published('IMAGE_UNACCEPTABLE', { wireModule: NOVA }) {}
/** The image store did not give the image, or not all of it, in time. */
export class ImageDownloadFailed extends published('IMAGE_DOWNLOAD_FAILED', { retryable: true }) {}
/** What the image store gave is not the image: its size or a checksum is another. */
export class ImageCorrupt extends published('IMAGE_CORRUPT', { retryable: true }) {}
/** A disk of the guest could not be made: no space, or a tool failed. */
export class DiskCreationFailed extends published('DISK_CREATION_FAILED', { retryable: true }) {}
/** The host that an instance is to come to does not see the disks of the one that it is to leave. */
export class InvalidSharedStorage extends published('INVALID_SHARED_STORAGE', { retryable: true, wireModule: NOVA }) {}
/** The guest could not be brought to the other host as it runs; it is where it was. */
export class MigrationError extends published('MIGRATION_ERROR', { wireModule: NOVA }) {}
/** The build was given up: its instance was deleted, or a later attempt took over. */
export class BuildAborted extends published('BUILD_ABORTED') {}
/** The host that an instance is to be unshelved on is not in its availability zone. */
export class UnshelveHostNotInAZ extends published('UNSHELVE_HOST_NOT_IN_AZ', { wireModule: NOVA }) {}
/** What was begun of an instance is over: a deletion, an evacuation or something later has taken its place. */
export class ActionInterrupted extends published('ACTION_INTERRUPTED') {}
/** The worker was interrupted while it built, more often than it may be. */
export class BuildInterrupted extends published('BUILD_INTERRUPTED', { retryable: true }) {}
/** Domain capabilities or a domain document that cannot be understood. */
export class InvalidDomainXml extends published('INVALID_DOMAIN_XML') {}
/** The guest has no console of this kind. */
export class ConsoleTypeUnavailable extends published('CONSOLE_TYPE_UNAVAILABLE', { wireModule: NOVA }) {}
/** The guest is off: its console is to be had when it runs. */
export class ConsoleNotAvailable extends published('CONSOLE_NOT_AVAILABLE', { wireModule: NOVA }) {}
/** The host's operator has not named the folder of this volume, or this network, among those that guests may be given. */
export class DeviceNotAllowed extends published('DEVICE_NOT_ALLOWED', { retryable: true }) {}
/** The volume could not be plugged into the guest. */
export class VolumeAttachFailed extends published('VOLUME_ATTACH_FAILED', { wireModule: NOVA, retryable: true }) {}
/** The interface could not be plugged into the guest. */
export class InterfaceAttachFailed extends published('INTERFACE_ATTACH_FAILED', {
  wireModule: NOVA,
  retryable: true,
}) {}
/** The guest does not let the device go. */
export class DeviceDetachFailed extends published('DEVICE_DETACH_FAILED', { wireModule: NOVA, retryable: true }) {}
/** The hypervisor does not know this guest. */
export class GuestNotFound extends published('GUEST_NOT_FOUND') {}
/** libvirt refuses, in its own words; `details` has its numbers: libvirt_code, libvirt_domain, libvirt_level. */
export class LibvirtError extends published('LIBVIRT_ERROR', { retryable: true }) {}
/** The deadline passed without an answer from the hypervisor; the work may still be done. */
export class HypervisorTimeout extends published('HYPERVISOR_TIMEOUT', { retryable: true }) {}
/** The hypervisor cannot be reached, or the connection to it was lost. */
export class HypervisorUnavailable extends published('HYPERVISOR_UNAVAILABLE', {
  retryable: true,
  isOutage: true,
  wireModule: NOVA,
}) {}
/** Bytes that are not libvirt's protocol, or a value that does not fit into it. */
export class InvalidLibvirtMessage extends published('INVALID_LIBVIRT_MESSAGE', { retryable: true }) {}

// -- on the bus -------------------------------------------------------------------------------------------------

/** The deadline passed without a reply; the work may still be done by the server. */
export class MessagingTimeout extends published('MESSAGING_TIMEOUT', {
  retryable: true,
  wireModule: 'oslo_messaging.exceptions',
}) {}
/** The server that had the call was lost: it may have begun, so no other server begins it again. */
export class ServerLost extends published('SERVER_LOST', { retryable: true }) {}
/** Nobody serves this topic or server: known at once, not after a timeout. */
export class NoSuchServer extends published('NO_SUCH_SERVER', { retryable: true }) {}
/** The broker returned a message that no queue takes, or has no exchange for it (404). */
export class MessageUndeliverable extends published('MESSAGE_UNDELIVERABLE', {
  retryable: true,
  wireModule: 'oslo_messaging.exceptions',
}) {}
/** There is no connection to the broker now, or it broke before the broker confirmed. */
export class TransportUnavailable extends published('TRANSPORT_UNAVAILABLE', { retryable: true, isOutage: true }) {}
/** What is declared on the broker differs from what we declare (AMQP 406), or we may not use it, declaring or sending (403). */
export class TopologyMismatch extends published('TOPOLOGY_MISMATCH') {}
/** The worker no longer gets its messages, or its replies, although the broker is there, and new connections did not mend it. */
export class WorkerDeaf extends published('WORKER_DEAF', { retryable: true }) {}
/** A message that is not oslo.messaging's envelope. */
export class InvalidMessage extends published('INVALID_MESSAGE') {}
/** The message is not of a user of the broker whom this side takes messages from, or does not say of whom it is. */
export class SenderNotAllowed extends published('SENDER_NOT_ALLOWED') {}
/** No dead letter has this id: it was replayed or purged, or somebody else looks at it now. */
export class DeadLetterNotFound extends published('DEAD_LETTER_NOT_FOUND') {}
/** The endpoint has no such method. Text and module are oslo.messaging's. */
export class NoSuchMethod extends published('NO_SUCH_METHOD', { wireModule: 'oslo_messaging.rpc.dispatcher' }) {}
/** No endpoint serves this namespace and version. Text and module are oslo.messaging's. */
export class UnsupportedVersion extends published('UNSUPPORTED_VERSION', {
  wireModule: 'oslo_messaging.rpc.dispatcher',
}) {}
/** The server failed in a way that has no class of ours; `details` has exc_type, value and traceback. */
export class RemoteError extends published('REMOTE_ERROR') {}
/** A result, argument or payload that JSON cannot carry (NaN, an integer beyond 2^53). */
export class UnserializableValue extends published('UNSERIALIZABLE_VALUE') {}
/** The worker is shutting down and takes no more work. */
export class ServiceStopping extends published('SERVICE_STOPPING', { retryable: true, isOutage: true }) {}

// -- around the workers -----------------------------------------------------------------------------------------

/** The configuration is wrong; `details.problems` names every wrong key. */
export class InvalidConfiguration extends published('INVALID_CONFIGURATION', { wireModule: NOVA }) {}
/** The database does not answer, or a statement failed for a reason that passes. */
export class DatabaseUnavailable extends published('DATABASE_UNAVAILABLE', { retryable: true, isOutage: true }) {}
/** The tables are not those of this release. */
export class DatabaseSchemaMismatch extends published('DATABASE_SCHEMA_MISMATCH') {}
/** There is no ledger of `sevbus bill` where one is looked for. */
export class LedgerNotFound extends published('LEDGER_NOT_FOUND') {}
/** Another process has the embedded database, or a host's state, open. */
export class AlreadyInUse extends published('ALREADY_IN_USE') {}
/** A file given on the command line cannot be read or is not what it should be. */
export class InvalidFile extends published('INVALID_FILE') {}
/** A defect of ours; the message is all that is told to others. */
export class InternalError extends published('INTERNAL_ERROR') {}

/** Every published error by its code. */
export const ERRORS_BY_CODE: ReadonlyMap<string, new (message: string, details?: ErrorDetails) => SevbusError> =
  new Map(
    [
      FlavorImageConflict,
      InvalidMachineType,
      StatelessFirmwareRequired,
      SecureBootNotSupported,
      FlavorImageLockedMemoryConflict,
      LockMemoryForbidden,
      MemoryPageSizeInvalid,
      MemoryPageSizeForbidden,
      FlavorMemoryTooSmall,
      FlavorDiskTooSmall,
      InvalidProperty,
      InvalidArguments,
      InstanceNotFound,
      InstanceInvalidState,
      OperationNotSupportedForSEV,
      DeviceNotFound,
      CannotResizeToSameFlavor,
      CannotResizeDisk,
      RebuildLosesEncryption,
      InstanceExists,
      NoValidHost,
      MaxRetriesExceeded,
      ClaimRefused,
      StaleAttempt,
      InvalidInventory,
      DuplicateHost,
      StaleReport,
      ComputeHostNotFound,
      ComputeServiceInUse,
      AggregateNotFound,
      AggregateNameExists,
      InvalidAggregateAction,
      InstanceGroupNotFound,
      SpawnFailed,
      EncryptionSlotsExhausted,
      EncryptionNotEffective,
      ClaimMismatch,
      HostCapabilityMissing,
      ImageNotFound,
      ImageUnacceptable,
      ImageDownloadFailed,
      ImageCorrupt,
      DiskCreationFailed,
      InvalidSharedStorage,
      MigrationError,
      BuildAborted,
      UnshelveHostNotInAZ,
      ActionInterrupted,
      BuildInterrupted,
      InvalidDomainXml,
      ConsoleTypeUnavailable,
      ConsoleNotAvailable,
      DeviceNotAllowed,
      VolumeAttachFailed,
      InterfaceAttachFailed,
      DeviceDetachFailed,
      GuestNotFound,
      LibvirtError,
      HypervisorTimeout,
      HypervisorUnavailable,
      InvalidLibvirtMessage,
      MessagingTimeout,
      ServerLost,
      NoSuchServer,
      MessageUndeliverable,
      TransportUnavailable,
      TopologyMismatch,
      WorkerDeaf,
      InvalidMessage,
      SenderNotAllowed,
      DeadLetterNotFound,
      NoSuchMethod,
      UnsupportedVersion,
      RemoteError,
      UnserializableValue,
      ServiceStopping,
      InvalidConfiguration,
      DatabaseUnavailable,
      DatabaseSchemaMismatch,
      LedgerNotFound,
      AlreadyInUse,
      InvalidFile,
      InternalError,
    ].map((type) => [type.code, type]),
  )

/** Turns whatever was thrown into something with a code; a foreign error becomes INTERNAL_ERROR with it as its cause. */
export function toSevbusError(error: unknown): SevbusError {
  if (error instanceof SevbusError) return error
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return new InternalError(message, {}, { cause: error })
}

/** It will fail like this always. A foreign error is a defect or an accident, and an accident may pass. */
export function isHopeless(thrown: unknown): boolean {
  return thrown instanceof SevbusError && !thrown.retryable
}
