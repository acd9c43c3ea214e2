"""RPC client and servers under eventlet, as Nova's services run: everything in one thread."""

import eventlet

eventlet.monkey_patch()

import os  # noqa: E402
import sys  # noqa: E402

import oslo_messaging  # noqa: E402
from eventlet import tpool  # noqa: E402

import lines  # noqa: E402

_servers = []


class Exposed:
    """What it does not expose nobody may call."""

    target = oslo_messaging.Target(namespace='green', version='2.3')

    def __init__(self, name):
        self._name = name

    @oslo_messaging.expose
    def who(self, ctxt, pause):
        eventlet.sleep(pause)
        return self._name

    @oslo_messaging.expose
    def note(self, ctxt, number):
        lines.event('noted', server=self._name, number=number)

    def hidden(self, ctxt):
        return 'hidden'


def serve(command):
    transport = lines.transport(oslo_messaging.get_rpc_transport, command['url'])
    target = oslo_messaging.Target(**{key: command[key] for key in ('exchange', 'topic', 'server')})
    server = oslo_messaging.get_rpc_server(
        transport,
        target,
        [Exposed(command['server'])],
        executor='eventlet',
        access_policy=oslo_messaging.ExplicitRPCAccessPolicy,
    )
    server.start()
    _servers.append(server)


def send(command):
    """By a client that is prepared anew: what it was made with is not what it sends with."""
    options = oslo_messaging.TransportOptions(at_least_once=command.get('at_least_once', False))
    transport = lines.transport(oslo_messaging.get_rpc_transport, command['url'])
    target = oslo_messaging.Target(exchange=command['exchange'], topic=command['topic'], version='1.0')
    client = oslo_messaging.RPCClient(transport, target, timeout=1, transport_options=options)
    prepared = client.prepare(**command['prepare'])
    if command.get('can_send'):
        return prepared.can_send_version(command['can_send'])
    return getattr(prepared, command['kind'])({}, command['method'], **command.get('args', {}))


def stop(command):
    while _servers:
        server = _servers.pop()
        server.stop()
        server.wait()


def calls_at_once(command):
    pile = eventlet.GreenPile()
    for number in range(command['count']):
        pile.spawn(send, {**command, 'args': {'number': number}})
    return list(pile)


COMMANDS = {
    'serve': serve,
    'send': send,
    'calls_at_once': calls_at_once,
    'stop': stop,
    'reply_queues': lines.reply_queues,
}

lines.configure()
# The standard input is read by a real thread: it would stop all green ones.
lines.serve(COMMANDS, iter(lambda: tpool.execute(sys.stdin.readline), ''))
os._exit(0)
