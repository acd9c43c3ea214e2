"""RPC servers of oslo.messaging, as many as are asked for."""

import threading
import time

import oslo_messaging
from oslo_config import cfg
from oslo_messaging.rpc import dispatcher

import lines
from nova import exception

_servers = []


class Plain:
    """In no namespace, version 1.0: an endpoint without a target."""

    def __init__(self, name):
        self._name = name

    def echo(self, ctxt, **args):
        return {'args': args, 'context': ctxt, 'server': self._name}

    def nothing(self, ctxt):
        return None

    def evaluate(self, ctxt, expression):
        return lines.value_of({'it_python': expression}, 'it')

    def sleep(self, ctxt, seconds):
        lines.event('sleeping', server=self._name, context=ctxt)
        time.sleep(seconds)
        return 'slept'

    def note(self, ctxt, **args):
        lines.event('noted', server=self._name, args=args, context=ctxt)

    def fail_builtin(self, ctxt, text):
        raise ValueError(text)

    def fail_of_nova(self, ctxt, instance_id):
        raise exception.InstanceNotFound(instance_id=instance_id)

    def fail_large(self, ctxt):
        raise exception.InstanceNotFound(instance_id=2**60)

    @oslo_messaging.expected_exceptions(exception.Unheard)
    def fail_unheard(self, ctxt):
        raise exception.Unheard('nobody knows this class')

    def _private(self, ctxt):
        return 'private'


class Versioned:
    target = oslo_messaging.Target(version='3.5')

    def versioned(self, ctxt):
        return 'served by 3.5'


class Named:
    target = oslo_messaging.Target(namespace='beings', version='1.2', legacy_namespaces=['older'])

    def name(self, ctxt):
        return 'named'


def start(command):
    transport = lines.transport(oslo_messaging.get_rpc_transport, command['url'])
    target = oslo_messaging.Target(**{key: command[key] for key in ('exchange', 'topic', 'server')})
    endpoints = [Plain(command['server']), Versioned(), Named()]
    server = oslo_messaging.get_rpc_server(transport, target, endpoints, executor='threading')
    server.start()
    _servers.append((command['topic'], server))


def stop(command):
    """Those of a topic, orderly and all at once: they delete their own fanout queues."""
    ending = [server for topic, server in _servers if topic == command['topic']]
    stopping = [threading.Thread(target=lambda each=each: (each.stop(), each.wait())) for each in ending]
    for thread in stopping:
        thread.start()
    for thread in stopping:
        thread.join()


cfg.CONF.register_opts(dispatcher._dispatcher_opts)
lines.configure(rpc_ping_enabled=True)
lines.serve({'start': start, 'stop': stop})
