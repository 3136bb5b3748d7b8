"""The edge node "edge" of the group "plant" with the device "pump", by pysparkplug.

    sparkplug_node.py PORT

For each number on standard input it publishes that as the pump's pressure and temperature, by their aliases and without types. It
publishes its births when it begins and whenever it is asked to, and then prints "born".
"""

import sys
import threading
import time

from pysparkplug import Client, DataType, DBirth, DData, Message, MessageType, Metric, NBirth, QoS, Topic

PRESSURE, TEMPERATURE = ("Line 1/Pressure", DataType.INT16, 7), ("Line 1/Temperature", DataType.FLOAT, 8)

client = Client(client_id="edge")


def topic(kind, device=None):
    return Topic(message_type=kind, group_id="plant", edge_node_id="edge", device_id=device)


def publish(kind, payload, device=None, with_types=False):
    message = Message(topic=topic(kind, device), payload=payload, qos=QoS.AT_MOST_ONCE, retain=False)
    client.publish(message, include_dtypes=with_types)


def metric(declared, value, with_name=False):
    name, datatype, alias = declared
    now = int(time.time() * 1000)
    return Metric(timestamp=now, name=name if with_name else None, datatype=datatype, value=value, alias=alias)


def be_born():
    now = int(time.time() * 1000)
    rebirth = Metric(timestamp=now, name="Node Control/Rebirth", datatype=DataType.BOOLEAN, value=False)
    publish(MessageType.NBIRTH, NBirth(timestamp=now, seq=0, metrics=(rebirth,)), with_types=True)
    metrics = (metric(PRESSURE, 0, True), metric(TEMPERATURE, None, True))
    publish(MessageType.DBIRTH, DBirth(timestamp=now, seq=1, metrics=metrics), "pump", True)
    print("born", flush=True)


def obey(client, message):
    if any(metric.name == "Node Control/Rebirth" and metric.value is True for metric in message.payload.metrics):
        # Not in the thread that reads from the broker.
        threading.Thread(target=be_born).start()


client.subscribe(topic(MessageType.NCMD), QoS.AT_MOST_ONCE, obey)
client.connect("127.0.0.1", port=int(sys.argv[1]), callback=lambda client: be_born())
for seq, line in enumerate(sys.stdin, start=2):
    value = float(line)
    metrics = (metric(PRESSURE, int(value)), metric(TEMPERATURE, value))
    publish(MessageType.DDATA, DData(timestamp=int(time.time() * 1000), seq=seq % 256, metrics=metrics), "pump")
client.disconnect()
