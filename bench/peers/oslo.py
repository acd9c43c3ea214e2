"""oslo.messaging as OpenStack's services use it: durable or quorum queues, threading executor, 64 threads."""

import json
import logging
import os
import sys
import threading
import time

import oslo_messaging
from oslo_config import cfg
from oslo_messaging.server import _pool_opts

QUEUE = os.environ["BENCH_QUEUE"]
IS_QUORUM = os.environ["BENCH_QUEUE_TYPE"] == "quorum"
EVENTS = json.loads(os.environ["BENCH_OPTIONS"]).get("events", False)
URL = os.environ["BENCH_AMQP_URL"].replace("amqp://", "rabbit://") + "/"


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def request(n):
    """The same as bootRequest of payload.ts."""
    uuid = "00000000-0000-4000-8000-{:012d}".format
    return {
        "request_id": "req-%d" % n,
        "project_id": uuid(1),
        "name": "web-%d" % n,
        "flavor": {
            "flavorid": "m1.sev",
            "vcpus": 4,
            "memory_mb": 8192,
            "root_gb": 40,
            "extra_specs": {
                "hw:mem_encryption": "true",
                "hw:mem_encryption_model": "amd-sev-es",
                "hw:cpu_policy": "dedicated",
                "hw:watchdog_action": "none",
            },
        },
        "image": {
            "id": uuid(2),
            "disk_format": "qcow2",
            "size": 2361393152,
            "properties": {
                "hw_firmware_type": "uefi",
                "hw_machine_type": "q35",
                "hw_disk_bus": "scsi",
                "hw_scsi_model": "virtio-scsi",
                "hw_vif_model": "virtio",
                "os_distro": "debian",
                "os_version": "12",
            },
        },
        "networks": [
            {
                "port_id": uuid(10 + port),
                "mac_address": "fa:16:3e:00:00:0%d" % port,
                "fixed_ips": ["10.0.%d.41" % port, "fd00:%d::41" % port],
            }
            for port in (1, 2, 3)
        ],
        "attempt": 1,
    }


def event(n):
    """The same as bootEvent of payload.ts."""
    return {
        "event": n,
        "instance": request(n),
        "volumes": [
            {
                "volume_id": "00000000-0000-4000-8000-%012d" % (100 + index),
                "device_name": "/dev/sd" + "bcdefghi"[index],
                "size_gb": 100 + index,
                "delete_on_termination": False,
            }
            for index in range(8)
        ],
        "security_groups": [
            {"id": "00000000-0000-4000-8000-%012d" % (200 + index), "name": "group-%d" % index} for index in range(8)
        ],
        "tags": ["tag-number-%d" % index for index in range(20)],
    }


class Boot:
    target = oslo_messaging.Target(version="1.0")

    def boot(self, _context, request):
        flavor = request["flavor"]
        return {
            "request_id": request["request_id"],
            "host": "compute-017.rack4.example.org",
            "accepted": len(request["networks"]) > 0,
            "claimed": {
                "VCPU": flavor["vcpus"],
                "MEMORY_MB": flavor["memory_mb"],
                "DISK_GB": flavor["root_gb"],
                "MEM_ENCRYPTION_CONTEXT": int(flavor["extra_specs"]["hw:mem_encryption"] == "true"),
            },
        }


class Events:
    def info(self, _context, _publisher_id, _event_type, _payload, _metadata):
        pass


def transport():
    logging.disable(logging.CRITICAL)
    conf = cfg.CONF
    oslo_messaging.set_transport_defaults(control_exchange=QUEUE + ".x")
    conf([], project="bench")
    get = oslo_messaging.get_notification_transport if EVENTS else oslo_messaging.get_rpc_transport
    opened = get(conf, url=URL)
    conf.set_override("amqp_durable_queues", True, group="oslo_messaging_rabbit")
    conf.set_override("rabbit_quorum_queue", IS_QUORUM, group="oslo_messaging_rabbit")
    conf.register_opts(_pool_opts)
    conf.set_override("executor_thread_pool_size", 64)
    return opened


def server():
    target = oslo_messaging.Target(topic=QUEUE, server="bench")
    if EVENTS:
        running = oslo_messaging.get_notification_listener(transport(), [target], [Events()], executor="threading")
    else:
        running = oslo_messaging.get_rpc_server(transport(), target, [Boot()], executor="threading")
    running.start()
    say({"ready": True})
    threading.Event().wait()


def operation():
    if EVENTS:
        notifier = oslo_messaging.Notifier(transport(), publisher_id="bench", driver="messagingv2", topics=[QUEUE])
        return lambda n: notifier.info({}, "boot", event(n))
    target = oslo_messaging.Target(topic=QUEUE, version="1.0")
    rpc = oslo_messaging.RPCClient(transport(), target, timeout=60)

    def call(n):
        asked = request(n)
        reply = rpc.call({}, "boot", request=asked)
        if reply["request_id"] != asked["request_id"]:
            raise ValueError("wrong reply")

    return call


def drive(work, count, in_flight):
    latencies, numbers, lock = [], iter(range(count)), threading.Lock()

    def lane():
        while True:
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            began = time.perf_counter()
            work(n)
            latencies.append((time.perf_counter() - began) * 1000)

    lanes = [threading.Thread(target=lane) for _ in range(in_flight)]
    for one in lanes:
        one.start()
    for one in lanes:
        one.join()
    if len(latencies) != count:
        sys.exit("%d of %d failed" % (count - len(latencies), count))
    return sorted(latencies)


def client(calls, in_flight, warm_up):
    work = operation()
    drive(work, warm_up, in_flight)
    say({"ready": True})
    sys.stdin.readline()
    began = time.perf_counter()
    latencies = drive(work, calls, in_flight)
    wall = (time.perf_counter() - began) * 1000
    at = lambda part: latencies[int((len(latencies) - 1) * part)]
    say({"calls": calls, "wallMs": wall, "p50Ms": at(0.5), "p99Ms": at(0.99)})
    sys.stdin.readline()
    os._exit(0)


if sys.argv[1] == "server":
    server()
else:
    client(*map(int, sys.argv[2:5]))
