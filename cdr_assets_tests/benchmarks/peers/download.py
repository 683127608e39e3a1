"""The limit: the bare download, to nowhere: argv is the base URL and the day."""

import sys

import requests

base_url, day = sys.argv[1:]
with requests.get(f"{base_url}/cdr/period/{day}/{day}", timeout=600, stream=True) as response:
    response.raise_for_status()
    while response.raw.read(1 << 20):
        pass
