"""A gateway as many people write it: MQTT to SQLite to HTTP POST, and no message is lost.

A message is acknowledged after SQLite has synced it, and deleted after the server has it.
gateway.py BROKER_PORT SINK_PORT DATABASE
"""

import queue
import sqlite3
import sys
import threading
import time

import paho.mqtt.client as mqtt
import requests

BATCH = 1000
broker_port, sink_port, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
arrived = queue.Queue(maxsize=10_000)


def connect():
    database = sqlite3.connect(path, timeout=60, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY, body BLOB)")
    return database


def store():
    database = connect()
    while True:
        messages = [arrived.get()]
        while len(messages) < BATCH and not arrived.empty():
            messages.append(arrived.get())
        database.execute("BEGIN IMMEDIATE")
        rows = [(message.payload,) for message in messages]
        database.executemany("INSERT INTO outbox (body) VALUES (?)", rows)
        database.execute("COMMIT")
        for message in messages:
            client.ack(message.mid, message.qos)


def send():
    database, session = connect(), requests.Session()
    url, headers = f"http://127.0.0.1:{sink_port}/in", {"Content-Type": "application/json"}
    query = f"SELECT id, body FROM outbox ORDER BY id LIMIT {BATCH}"
    while True:
        rows = database.execute(query).fetchall()
        try:
            if rows:
                body = b"[" + b",".join(body for _, body in rows) + b"]"
                session.post(url, body, headers=headers, timeout=10).raise_for_status()
                database.execute("DELETE FROM outbox WHERE id <= ?", (rows[-1][0],))
        except requests.RequestException:
            rows = []
        if len(rows) < BATCH:
            time.sleep(1)


client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2, "gateway", clean_session=False, manual_ack=True
)
client.on_connect = lambda *_: client.subscribe("plant/+/reading", qos=1)
client.on_message = lambda _client, _userdata, message: arrived.put(message)
connect().close()
for task in (store, send):
    threading.Thread(target=task, daemon=True).start()
client.connect("127.0.0.1", broker_port)
client.loop_forever()
