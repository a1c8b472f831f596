# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""One file over HTTP with ranges, as QEMU reads it:  web.py ADDRESS PORT FILE"""

import http.server
import re
import sys


class Ranges(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        content = self.server.content
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        begin, end = 0, len(content)
        if match:
            begin, end = int(match[1]), min(end, int(match[2] or end) + 1)
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[begin:end])

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    address, port, path = sys.argv[1:]
    server = http.server.ThreadingHTTPServer((address, int(port)), Ranges)
    server.daemon_threads = True
    with open(path, "rb") as f:
        server.content = f.read()
    server.serve_forever()
