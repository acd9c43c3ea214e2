"""Takes URLs apart as oslo.messaging does: a JSON list of them on standard input, a JSON list of their parts back."""

import json
import logging
import sys

import oslo_messaging
from oslo_config import cfg

logging.disable(logging.CRITICAL)
conf = cfg.ConfigOpts()
conf([])


def parts(url):
    parsed = oslo_messaging.TransportURL.parse(conf, url)
    hosts = [[host.hostname, host.port, host.username, host.password] for host in parsed.hosts]
    return {'vhost': parsed.virtual_host, 'hosts': hosts}


json.dump([parts(url) for url in json.load(sys.stdin)], sys.stdout)
