"""An RPC client of oslo.messaging."""

import oslo_messaging

import lines


def client_for(command):
    target = {key: command[key] for key in ('exchange', 'topic', 'namespace', 'version', 'server', 'fanout') if key in command}
    exmods = command.get('allowed_remote_exmods', [])
    transport = lines.transport(oslo_messaging.get_rpc_transport, command['url'], allowed_remote_exmods=exmods)
    options = {key: command[key] for key in ('timeout', 'call_monitor_timeout', 'version_cap') if key in command}
    return oslo_messaging.RPCClient(transport, oslo_messaging.Target(**target), **options)


def call(command):
    client = client_for(command)
    return client.call(command.get('context', {}), command['method'], **lines.value_of(command, 'args') or {})


def cast(command):
    client = client_for(command)
    return client.cast(command.get('context', {}), command['method'], **lines.value_of(command, 'args') or {})


lines.configure()
lines.serve({'call': call, 'cast': cast, 'reply_queues': lines.reply_queues})
