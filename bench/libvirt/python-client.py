"""libvirt's own client library, as Nova's driver uses it. A line of JSON per turn in, one with its latencies out."""

import json
import resource
import sys
import time

import libvirt

connection = libvirt.open(sys.argv[1])
domain = connection.lookupByUUIDString(sys.argv[2])
arch, machine, virttype = "x86_64", "q35", sys.argv[3]

CALLS = {
    "state": domain.state,
    "xml": lambda: domain.XMLDesc(0),
    "states": lambda: connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE),
    "domain capabilities": lambda: connection.getDomainCapabilities(None, arch, machine, virttype),
}


def cpu_ms():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1000


for line in sys.stdin:
    turn = json.loads(line)
    call = CALLS[turn["call"]]
    latencies = []
    cpu = cpu_ms()
    for _ in range(turn["times"]):
        before = time.perf_counter()
        call()
        latencies.append((time.perf_counter() - before) * 1000)
    print(json.dumps({"latenciesMs": latencies, "cpuMs": cpu_ms() - cpu}), flush=True)
