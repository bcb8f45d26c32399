"""Pushes with the Python libraries that speak Pushgateway's API.

    push_clients.py HOST:PORT [USER PASSWORD]
"""

import asyncio
import inspect
import sys
import urllib.error
import urllib.request

import aioprometheus
from aioprometheus.pusher import Pusher
from prometheus_client import CollectorRegistry, Counter, Gauge, delete_from_gateway, push_to_gateway, pushadd_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler

address, *credentials = sys.argv[1:]


def handler(url, method, timeout, headers, data):
    if credentials:
        return basic_auth_handler(url, method, timeout, headers, data, *credentials)
    return default_handler(url, method, timeout, headers, data)


def registry(name, value, kind=Counter):
    made = CollectorRegistry()
    metric = kind(name, "Some \"help\".", registry=made)
    metric.inc(value)
    return made


def push_with_prometheus_client():
    push_to_gateway(address, "push", registry("replaced", 1), handler=handler)
    push_to_gateway(address, "push", registry("pushed", 1), handler=handler)
    pushadd_to_gateway(address, "push", registry("added", 2), handler=handler)
    push_to_gateway(address, "a/b", registry("in_a_group", 4, Gauge), {"zone": ""}, handler=handler)
    push_to_gateway(address, "deleted", registry("deleted", 1), handler=handler)
    delete_from_gateway(address, "deleted", handler=handler)
    # Newer versions can pack the body.
    packs = "compression" in inspect.signature(push_to_gateway).parameters
    packed = {"compression": "gzip"} if packs else {}
    push_to_gateway(address, "packed", registry("packed", 3), handler=handler, **packed)


async def push_with_aioprometheus():
    made = aioprometheus.Registry()
    counter = aioprometheus.Counter("aio_total", "A counter.", registry=made)
    counter.inc({"kind": "a"})
    pusher = Pusher("aio", f"http://{address}")
    answer = await pusher.replace(made)
    assert answer.status == 200, answer.status
    made = aioprometheus.Registry()
    aioprometheus.Gauge("aio_gauge", "A gauge.", registry=made).set({"kind": "b"}, 2)
    answer = await pusher.add(made)
    assert answer.status == 200, answer.status
    answer = await Pusher("aio_deleted", f"http://{address}").delete(made)
    assert answer.status == 202, answer.status


if credentials:
    try:
        push_to_gateway(address, "push", registry("pushed", 1))
    except urllib.error.HTTPError as error:
        print(f"{error.code} without a password")
push_with_prometheus_client()
if not credentials:
    asyncio.run(push_with_aioprometheus())
print("done")
