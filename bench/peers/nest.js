import 'reflect-metadata'
import { Controller, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { ClientProxyFactory, Ctx, MessagePattern, Payload, Transport } from '@nestjs/microservices'
import { firstValueFrom } from 'rxjs'
import { accept, bootRequest, expectReplyTo } from '../payload.ts'
import { AMQP_URL, IS_QUORUM, QUEUE, runPeer } from '../peer.ts'

// NestJS over RabbitMQ with durable queues, persistent messages and acknowledgements by hand; its connection manager
// confirms what it publishes. Decorators are called as functions: this file is run as it stands.
const options = {
  urls: [AMQP_URL],
  queue: QUEUE,
  queueOptions: { durable: true, ...(IS_QUORUM && { arguments: { 'x-queue-type': 'quorum' } }) },
  prefetchCount: 512,
  persistent: true,
  socketOptions: { connectionOptions: { noDelay: true } },
}

async function server() {
  class BootController {
    boot(request, context) {
      const reply = accept(request)
      context.getChannelRef().ack(context.getMessage())
      return reply
    }
  }
  MessagePattern('boot')(
    BootController.prototype,
    'boot',
    Object.getOwnPropertyDescriptor(BootController.prototype, 'boot'),
  )
  Payload()(BootController.prototype, 'boot', 0)
  Ctx()(BootController.prototype, 'boot', 1)
  Controller()(BootController)
  class BootModule {}
  Module({ controllers: [BootController] })(BootModule)
  const microservice = { transport: Transport.RMQ, options: { ...options, noAck: false }, logger: ['error'] }
  const app = await NestFactory.createMicroservice(BootModule, microservice)
  await app.listen()
}

async function client() {
  const proxy = ClientProxyFactory.create({ transport: Transport.RMQ, options })
  await proxy.connect()
  return async (n) => {
    const request = bootRequest(n)
    expectReplyTo(request, await firstValueFrom(proxy.send('boot', request)))
  }
}

await runPeer({ server, client })
