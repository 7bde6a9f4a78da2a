"""httpx-sse reads one connection. Going on after it is lost is a loop with the last id, as its documentation has it."""

import json
import sys
import time

import httpx
from httpx_sse import connect_sse

last_id = ""
retry = 1.0

with httpx.Client(timeout=httpx.Timeout(5, read=45)) as client:
    while True:
        try:
            headers = {"Last-Event-ID": last_id} if last_id else {}
            with connect_sse(client, "GET", sys.argv[1], headers=headers) as source:
                for event in source.iter_sse():
                    last_id = event.id or last_id
                    retry = (event.retry or retry * 1000) / 1000
                    if event.event == "tidegate:ready":
                        print(json.dumps({"open": True}), flush=True)
                    elif event.event == "tidegate:reset":
                        print(json.dumps({"reset": event.data}), flush=True)
                    elif event.event == "chat":
                        print(json.dumps({"id": event.id, "data": event.json()}), flush=True)
        except httpx.TransportError:
            pass
        time.sleep(retry)
