"""sseclient-py parses a response of requests. Going on after it is lost is a loop with the last id."""

import json
import sys
import time

import requests
import sseclient

last_id = ""
retry = 1.0

while True:
    try:
        headers = {"Accept": "text/event-stream"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        response = requests.get(sys.argv[1], stream=True, headers=headers, timeout=(5, 45))
        for event in sseclient.SSEClient(response).events():
            last_id = event.id or last_id
            retry = int(event.retry or retry * 1000) / 1000
            if event.event == "tidegate:ready":
                print(json.dumps({"open": True}), flush=True)
            elif event.event == "tidegate:reset":
                print(json.dumps({"reset": event.data}), flush=True)
            elif event.event == "chat":
                print(json.dumps({"id": event.id, "data": json.loads(event.data)}), flush=True)
    except requests.RequestException:
        pass
    time.sleep(retry)
