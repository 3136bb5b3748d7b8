"""Calls every action that Losant's Python client has for a device, against a running sandbox.

    actions.py SCHEMAS READY

SCHEMAS is the directory of Losant's schemas. READY is the output of `tidegate-sandbox serve
--json`. Each answer must be valid by the schema that the client's documentation names for it.
"""

import http.server
import json
import pathlib
import queue
import sys
import threading
import time
import urllib.request

import jsonschema
import losant_rest
import losant_rest.device

TIMEOUT_S = 20
schemas = pathlib.Path(sys.argv[1])
ready = json.loads(sys.argv[2])
gateway, greenhouse, workshop = ready["devices"]
called = set()


def check(schema, answer):
    """Validates an answer without `_type` and `_links`, which Losant's schemas do not have."""
    schema = json.loads((schemas / f"{schema}.json").read_text())
    answer = bare(answer)
    checker = jsonschema.Draft7Validator.FORMAT_CHECKER
    jsonschema.Draft7Validator(schema, format_checker=checker).validate(answer)
    return answer


def bare(value):
    if isinstance(value, list):
        return [bare(element) for element in value]
    if isinstance(value, dict):
        return {key: element for key, element in value.items() if key not in ("_type", "_links")}
    return value


def call(client, action, target, **arguments):
    called.add(action)
    arguments |= {"applicationId": target["applicationId"], "deviceId": target["deviceId"]}
    return getattr(client.device, action)(**arguments)


def refused(status, client, action, target, **arguments):
    try:
        call(client, action, target, **arguments)
    except losant_rest.LosantError as error:
        assert error.status == status, error
        assert set(check("error", error.data)) == {"type", "message"}, error
    else:
        raise AssertionError(f"{action} was not refused")


def job(answer):
    """Validates the answer to a job: 200 and success, or 202 and a job, by the sandbox's setup."""
    return check("jobEnqueuedResult" if "jobQueued" in answer else "success", answer)


def authenticate(device):
    client = losant_rest.Client(url=ready["url"])
    credentials = {"deviceId": device["deviceId"], "key": device["key"], "secret": device["secret"]}
    authed = client.auth.authenticate_device(credentials=credentials)
    assert check("authedDevice", authed)["applicationId"] == ready["applicationId"]
    client.auth_token = authed["token"]
    return client


def device_actions(client):
    """Calls the actions that a device's own token allows."""
    now_ms = int(time.time() * 1000)
    states = [{"time": now_ms - 2000, "data": {"temperature": 21.5, "door": False}},
              {"time": {"$date": "2016-06-13T04:00:00.000Z"}, "data": {"temperature": 1}},
              {"time": now_ms - 1000, "data": {"temperature": 22}, "meta": {"backfill": True}}]
    check("success", call(client, "send_state", greenhouse, deviceState=states))
    check("success", call(client, "send_state", gateway, deviceState={"data": {"uptime": 5}}))
    history = call(client, "get_state", greenhouse, limit=10, sortDirection="asc")
    history = check("deviceStates", history)
    assert [state["data"]["temperature"] for state in history] == [21.5, 22], history
    newest = call(client, "get_state", greenhouse, since=now_ms - 1500)
    assert check("deviceStates", newest) == history[1:]
    composite = check("compositeDeviceState", call(client, "get_composite_state", greenhouse))
    assert (composite["temperature"]["value"], composite["door"]["value"]) == (22, False), composite
    selection = {"start": str(-1500), "attributes": "door,temperature"}
    narrow = call(client, "get_composite_state", greenhouse, **selection)
    assert set(check("compositeDeviceState", narrow)) == {"temperature"}, narrow

    command = {"name": "fan", "payload": [1, None]}
    check("success", call(client, "send_command", gateway, deviceCommand=command))
    commands = check("deviceCommands", call(client, "get_command", gateway, limit=10))
    assert (commands[0]["name"], commands[0]["payload"]) == ("fan", [1, None]), commands

    loss = {"disconnectReason": "power loss", "messagesFromClient": 7}
    for status in [{"status": "disconnected", **loss},
                   {"status": "connected", "connectedAt": now_ms, "ipAddress": "10.0.0.2"}]:
        check("success", call(client, "set_connection_status", gateway, connectionStatus=status))
    log = check("deviceLog", call(client, "get_log_entries", gateway, limit=10))
    assert sorted(entry["connected"] for entry in log) == [0, 1], log

    device = check("device", call(client, "get", gateway))
    assert device["deviceClass"] == "gateway" and "connectionInfo" in device, device
    check("device", call(client, "get", gateway, excludeConnectionInfo="true"))

    refused(400, client, "send_state", gateway, deviceState={"data": {"temperature": None}})
    for action in ["delete", "export", "payload_counts", "payload_counts_breakdown", "remove_data"]:
        refused(403, client, action, gateway)
    refused(403, client, "patch", gateway, device={})


def application_actions(client):
    """Calls the actions that need an application's token."""
    tags = [{"key": "floor", "value": "1"}, {"key": "floor", "value": "2"}]
    patch = {"name": "Orangery", "description": "hot", "tags": tags}
    device = check("device", call(client, "patch", greenhouse, device=patch))
    assert (device["name"], device["tags"]) == ("Orangery", tags), device
    objects = call(client, "get", greenhouse, tagsAsObject="true", attributesAsObject="true")
    assert objects["tags"] == {"floor": ["1", "2"]}, objects["tags"]
    assert objects["attributes"]["door"] == {"dataType": "boolean"}, objects["attributes"]
    refused(400, client, "patch", greenhouse, device={"colour": "green"})

    application = {"applicationId": ready["applicationId"]}
    new = {"name": "Attic", "deviceClass": "peripheral", "gatewayId": gateway["deviceId"],
           "attributes": [{"name": "open", "dataType": "boolean"}]}
    created = check("device", client.devices.post(**application, device=new))
    assert all(created[key] == value for key, value in new.items()), created
    listed = check("devices", client.devices.get(**application, deviceClass="peripheral"))
    assert created["deviceId"] in [device["deviceId"] for device in listed["items"]], listed

    counts = check("devicePayloadCounts", call(client, "payload_counts", greenhouse))
    assert counts["deviceState"] == 2, counts
    breakdown = call(client, "payload_counts_breakdown", greenhouse, resolution="3600000")
    counts = check("payloadCountsBreakdown", breakdown)["counts"]
    assert sum(entry["value"] for entry in counts) == 2, breakdown

    export(client)
    job(call(client, "remove_data", greenhouse, start="1", end="0"))
    assert call(client, "get_state", greenhouse) == []

    check("success", call(client, "delete", workshop))
    refused(404, client, "get", workshop)


def export(client):
    calls = queue.Queue()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            calls.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/done"
        job(call(client, "export", greenhouse, callbackUrl=url, start="1"))
        callback = calls.get(timeout=TIMEOUT_S)
        with urllib.request.urlopen(callback["url"], timeout=TIMEOUT_S) as answer:
            rows = answer.read().decode().splitlines()
        assert len(rows) == 3 and rows[0].startswith("ID,Timestamp,Date,temperature,"), rows
        server.shutdown()


def main():
    device_actions(authenticate(gateway))
    application_actions(losant_rest.Client(auth_token=ready["apiToken"], url=ready["url"]))
    actions = {name for name in vars(losant_rest.device.Device) if not name.startswith("_")}
    assert called == actions, f"not called: {sorted(actions - called)}"
    print(f"{len(called)} actions")


main()
