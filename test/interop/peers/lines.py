"""What all peers share: commands come as lines of JSON on standard input, answers and events leave on standard output.

A command is {"id": 1, "do": "name", ...}; its answer {"id": 1, "result": ...} or {"id": 1, "error": {...}}. What happens
without being asked is {"event": "name", ...}. Every command runs in a thread of its own. At the end of the input the
process ends, whatever it does: whoever started it is gone, or has what he wanted.
"""

import datetime
import decimal
import json
import os
import sys
import threading
import uuid

import oslo_messaging
from oslo_config import cfg

_lock = threading.Lock()
_transports = {}


def configure(**options):
    cfg.CONF([], project='sevbus-peer', default_config_files=[])
    for name, value in options.items():
        cfg.CONF.set_override(name, value)


def transport(make, url, **options):
    """One for each URL and set of options: a transport of its own costs connections and threads."""
    key = (make, url, json.dumps(options, sort_keys=True))
    with _lock:
        if key not in _transports:
            exchange = options.pop('control_exchange', None)
            oslo_messaging.set_transport_defaults(exchange or 'openstack')
            _transports[key] = make(cfg.CONF, url, **options)
        return _transports[key]


def reply_queues(command):
    """Of this process, or of one URL: oslo.messaging never deletes them."""
    wanted = command.get('url')
    drivers = [known._driver for (_, url, _), known in _transports.items() if wanted in (None, url)]
    return [driver._reply_q for driver in drivers if driver._reply_q]


def value_of(command, key):
    """The value under the key, or what the Python expression under `<key>_python` makes: what JSON cannot say."""
    expression = command.get(key + '_python')
    if expression is None:
        return command.get(key)
    return eval(expression, {'datetime': datetime, 'decimal': decimal, 'uuid': uuid})


def say(line):
    text = json.dumps(line, default=repr)
    with _lock:
        sys.stdout.write(text + '\n')
        sys.stdout.flush()


def event(name, **facts):
    say({'event': name, **facts})


def describe(error):
    """Everything about an exception that a program could ask it for."""
    facts = {
        'class': type(error).__name__,
        'module': type(error).__module__,
        'bases': [base.__name__ for base in type(error).__mro__],
        'text': str(error),
    }
    for name in ('kwargs', 'exc_type', 'value', 'traceback'):
        if hasattr(error, name):
            facts[name] = getattr(error, name)
    return facts


def serve(commands, source=sys.stdin):
    def run(line):
        command = json.loads(line)
        try:
            answer = {'result': commands[command.pop('do')](command)}
        except Exception as error:
            answer = {'error': describe(error)}
        say({'id': command['id'], **answer})

    event('ready')
    for line in source:
        threading.Thread(target=run, args=(line,), daemon=True).start()
    os._exit(0)
