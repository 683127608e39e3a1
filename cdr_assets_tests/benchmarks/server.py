"""EnableX's period route over prepared files, in a process of its own.

    python server.py FOLDER

Prints its port. GET /SET/cdr/period/DAY/DAY answers with FOLDER/SET/DAY.json, or with no records where there is none.
A set named `after-N-ms` is the set `range`, each answer beginning N milliseconds late.
"""

from __future__ import annotations

import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

EMPTY = b'{"result": "0", "cdr": []}'
ROUTE = re.compile(r"/(?P<set>[\w-]+)/cdr/period/(?P<day>\d{4}-\d\d-\d\d)/(?P=day)")
LATE = re.compile(r"after-(\d+)-ms")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        asked = ROUTE.fullmatch(self.path)
        if asked is None:
            self.send_error(404)
            return
        name = asked["set"]
        if late := LATE.fullmatch(name):
            time.sleep(int(late[1]) / 1_000)
            name = "range"
        answer = self.folder / name / f"{asked['day']}.json"
        if not answer.exists():
            self.head(len(EMPTY))
            self.wfile.write(EMPTY)
            return
        with answer.open("rb") as body:
            self.head(answer.stat().st_size)
            self.connection.sendfile(body)

    def head(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    Handler.folder = Path(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
