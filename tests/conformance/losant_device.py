"""A device with Losant's own MQTT client, which is told to go to a local broker and changed in nothing else.

    losant_device.py PORT DEVICE_ID

It reports a state, waits for one command, and prints it as JSON.
"""

import json
import sys
import time

from losantmqtt import Device
from paho.mqtt import client as mqtt

port, device_id = int(sys.argv[1]), sys.argv[2]

# Losant's client knows one port of its broker. Ours has another.
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
print(json.dumps({"name": command["name"], "payload": command["payload"], "time": str(command["time"])}))
