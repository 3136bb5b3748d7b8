"""Prints the newest states of a device, as Losant's own client reads them.

    read_back.py URL TOKEN APPLICATION DEVICE
"""

import json
import sys

from losant_rest import Client

url, token, application_id, device_id = sys.argv[1:]
client = Client(auth_token=token, url=url)
states = client.device.get_state(applicationId=application_id, deviceId=device_id, limit=100)
json.dump(states, sys.stdout)
