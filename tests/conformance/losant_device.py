"""Runs a device with Losant's own MQTT client against a local broker.

    losant_device.py PORT DEVICE_ID

Only the address of the broker differs from the original. The device reports a state, waits for one
command, and prints it as JSON.
"""

import json
import sys
import time

from losantmqtt import Device
from paho.mqtt import client as mqtt

port, device_id = int(sys.argv[1]), sys.argv[2]

# Losant's client has a fixed port. The local broker has another.
connect = mqtt.Client.connect
mqtt.Client.connect = lambda client, host, _, keep_alive: connect(client, host, port, keep_alive)
Device.mqtt_endpoint = "127.0.0.1"

commands = []
device = Device(device_id, "key", "secret", secure=False)
device.add_event_observer("command", lambda device, command: commands.append(command))
device.connect(blocking=False)
device.loop()
deadline = time.monotonic() + 60
is_sent = False
while not commands and time.monotonic() < deadline:
    if device.is_connected() and not is_sent:
        device.send_state({"temperature": 21.5, "humidity": 40})
        is_sent = True
    device.loop(0.1)
device.close()
command = commands[0]
result = {"name": command["name"], "payload": command["payload"], "time": str(command["time"])}
print(json.dumps(result))
