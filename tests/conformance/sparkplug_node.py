"""Runs the edge node "edge" of the group "plant" with the device "pump", with pysparkplug.

    sparkplug_node.py PORT

The node publishes each number on standard input as the pump's pressure and temperature, with
aliases and without names and types. It publishes its births at the start and on request, and then
prints "born".
"""

import sys
import threading
import time

from pysparkplug import (
    Client, DataType, DBirth, DData, Message, MessageType, Metric, NBirth, QoS, Topic
)

PRESSURE = ("Line 1/Pressure", DataType.INT16, 7)
TEMPERATURE = ("Line 1/Temperature", DataType.FLOAT, 8)
REBIRTH = "Node Control/Rebirth"

client = Client(client_id="edge")


def topic(kind, device=None):
    return Topic(message_type=kind, group_id="plant", edge_node_id="edge", device_id=device)


def publish(kind, payload, device=None, with_types=False):
    address, qos = topic(kind, device), QoS.AT_MOST_ONCE
    message = Message(topic=address, payload=payload, qos=qos, retain=False)
    client.publish(message, include_dtypes=with_types)


def metric(declared, value, with_name=False):
    name, datatype, alias = declared
    name = name if with_name else None
    return Metric(timestamp=now_ms(), name=name, datatype=datatype, value=value, alias=alias)


def now_ms():
    return int(time.time() * 1000)


def publish_births():
    now = now_ms()
    rebirth = Metric(timestamp=now, name=REBIRTH, datatype=DataType.BOOLEAN, value=False)
    publish(MessageType.NBIRTH, NBirth(timestamp=now, seq=0, metrics=(rebirth,)), with_types=True)
    metrics = (metric(PRESSURE, 0, True), metric(TEMPERATURE, None, True))
    publish(MessageType.DBIRTH, DBirth(timestamp=now, seq=1, metrics=metrics), "pump", True)
    print("born", flush=True)


def handle_command(client, message):
    metrics = message.payload.metrics
    if any(metric.name == REBIRTH and metric.value is True for metric in metrics):
        # The thread that reads from the broker must not publish.
        threading.Thread(target=publish_births).start()


client.subscribe(topic(MessageType.NCMD), QoS.AT_MOST_ONCE, handle_command)
client.connect("127.0.0.1", port=int(sys.argv[1]), callback=lambda client: publish_births())
for seq, line in enumerate(sys.stdin, start=2):
    value = float(line)
    metrics = (metric(PRESSURE, int(value)), metric(TEMPERATURE, value))
    publish(MessageType.DDATA, DData(timestamp=now_ms(), seq=seq % 256, metrics=metrics), "pump")
client.disconnect()
