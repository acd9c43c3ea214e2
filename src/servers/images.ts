/**
 * The one place for the versions that containers run; a test holds `compose.yaml` to it.
 *
 * RabbitMQ stays at 4.2: from 4.3 on a broker refuses, by default, the transient queues that oslo.messaging declares
 * (`transient_nonexcl_queues`; RabbitMQ 4.3.0 release notes).
 */
export const RABBITMQ_IMAGE = 'rabbitmq:4.2.9-management'
export const POSTGRES_IMAGE = 'postgres:17.11'
