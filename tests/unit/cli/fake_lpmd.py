# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""A server on a unix socket that answers as lpmd would, from a script of answers."""
import http.server
import json
import os
import socketserver
import threading
import urllib.parse


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class FakeLpmd:
    """`answers` maps "METHOD path" to a list of answers, each used once and the last for ever.

    An answer is a document (status 200), a pair (status, document or bytes), or a function of the
    request's body that returns one of these.
    """

    def __init__(self, path, answers):
        self.path = str(path)
        self.answers = {call: list(list_) for call, list_ in answers.items()}
        self.calls = []  # (method, path, body)
        self.server = None
        self.start()

    def start(self):
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def address_string(self):
                return "unix"

            def log_message(self, *args):
                pass

            def answer(self):
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                status, document = fake.next_answer(self.command, self.path, body)
                data = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                if fake.server is None:
                    self.close_connection = True

            do_GET = do_POST = do_DELETE = answer

        if os.path.exists(self.path):
            os.unlink(self.path)
        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02},
                         daemon=True).start()

    def stop(self):
        """No new connections, as while lpmd restarts."""
        server, self.server = self.server, None
        server.shutdown()
        server.server_close()
        os.unlink(self.path)

    def next_answer(self, method, path, body):
        self.calls.append((method, urllib.parse.unquote(path), body))
        script = self.answers.get(f"{method} {path}")
        if not script:
            return 404, error(1007, f"no {method} {path} in the script of this test")
        answer = script.pop(0) if len(script) > 1 else script[0]
        if callable(answer):
            answer = answer(body)
        return answer if isinstance(answer, tuple) else (200, answer)


def error(number, cause, aliases=(), details=None):
    return {"error": {"code": f"LPM-{number:04d}", "severity": "error", "cause": cause,
                      "remedy": f"the remedy of {number}", "details": details or {},
                      "aliases": list(aliases)}}


def migration(state, percent=0, **more):
    """A migration as docs/architecture.md describes it."""
    ended = state in ("done", "failed", "stopped")
    return {
        "id": "m1", "partition": "web", "uuid": "0b5bd5f0-7d4c-4b1f-9a3b-2c7d1f6f2a11",
        "role": "source", "peer": "b", "state": state,
        "shown": "Running" if ended else "Migrating - Running",
        "started_ms": 1700000000000, "ended_ms": 1700000012345 if ended else None,
        "phases": [{"name": "validating", "begin_us": 1700000000000000,
                    "end_us": 1700000000012000},
                   {"name": "copying", "begin_us": 1700000000012000,
                    "end_us": 1700000011912000 if ended else None}],
        "progress": {"percent": percent, "bytes_total": 536870912, "bytes_done": 386547056,
                     "bytes_left": 150323856, "rate": 117440512, "dirty_rate": 3145728,
                     "iteration": 2, "eta_ms": 12000, "suspend_estimate_ms": 45},
        "error": None, "report": None, **more}


REPORT = {
    "id": "m1", "partition": "web", "source": "a", "target": "b", "result": "done",
    "total_ms": 12345, "suspended_us": 45123, "clock_offset_us": -12, "clock_error_us": 30,
    "phases": migration("done")["phases"],
    "pages": {"sent": 65536, "zero": 12000, "resent": 345, "unchanged": 40},
    "placement": {"method": "direct", "pages": 70123, "bytes": 230000000, "reason": None}, "rounds": 4, "dirty_rate": 3145728,
    "stream_bytes": 386547056, "encoded_bytes": 150323856,
    "link_bytes": {"sent": 150400000, "received": 20480}, "wire_bytes": None,
    "compression_ratio": 2.571,
    "stream_hash": {"source": "9f86d081884c7d65", "target": "9f86d081884c7d65", "identical": True},
    "handover": {"finish_held_us": 1, "source_ended_us": 2, "committed_us": 3, "resumed_us": 4,
                 "added_us": 5},
    "cpu_ms": {"source_mover": 2100, "target_mover": 1900}}

DONE = migration("done", 100, report=REPORT)

def timeline(document, count=5):
    """What GET /v1/migrations/{id}/timeline answers: `count` samples, two to a round."""
    samples = [{"at_us": 1700000000200000 + i * 500000, "state": "copying", "round": 1 + i // 2,
                "memory_total": 1 << 30, "memory_left": (1 << 30) // (i + 1), "rate": 118000000,
                "dirty_rate": 8000000 * (i // 2), "suspend_estimate_ms": 300 // (i + 1),
                "stream_bytes": i * 59000000, "encoded_bytes": i * 18000000,
                "wire_bytes": i * 18100000, "pages_sent": i * 14000, "pages_zero": i * 9000,
                "pages_resent": 0, "level": i - 2, "threads": 2, "streams": 1,
                "round_trip_us": 180, "cpu_us": i * 210000, "demand_requests": 0,
                "demand_served": 0} for i in range(count)]
    return {"migration": document, "samples": samples}


MOVER = {
    "migration": "m1", "partition": "web", "side": "source", "pid": 4711, "elapsed_ms": 12300,
    "transmit": {"packets": 1200, "bytes": 150400000, "errors": 0},
    "receive": {"packets": 40, "bytes": 20480, "errors": 0, "bad_packets": 0, "no_buffers": 0},
    "operations": {"maximum": 4, "active": 1, "types": ["active"]},
    "streams": [
        {"channel": "data", "bytes_total": 536870912, "bytes_left": 150323856,
         "bytes_done": 386547056, "encoded_bytes": 150323856, "unacknowledged": 65536},
        {"channel": "rpc", "bytes_total": 20000, "bytes_left": 0, "bytes_done": 20000,
         "encoded_bytes": 20000, "unacknowledged": 0}],
    "pages": {"sent": 65536, "zero": 12000, "resent": 345, "unchanged": 40}, "iteration": 2,
    "placement": {"method": "stream", "pages": 0, "bytes": 0, "reason": "QEMU's memory is not shared"},
    "links": [{"state": "up", "reconnects": 0, "round_trip_us": 212}], "cpu_us": 2100000,
    "stream": {"phase": "post-copy", "ram_bytes": 536870912, "degraded": False,
               "degraded_reason": None},
    "pipeline": {"threads": 2, "waiting": 1, "working": 2, "busy_us": 1900000,
                 "compression": "zstd", "level": -1, "bandwidth": 52428800},
    "demand": {"requests": 12, "served": 11, "mean_us": 640, "p99_us": 2100, "max_us": 2150,
               "too_late": 1, "overtook": 3, "waiting_bytes": 0}, "stream_hash": None}

PEERS = {"peers": [
    {"name": "b", "address": "192.0.2.12", "control_port": 16520, "data_port": 16521,
     "fingerprint": "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=", "state": "up",
     "round_trip_us": 210, "clock_offset_us": -12, "clock_error_us": 105,
     "paired_ms": 1700000000000},
    {"name": "rz-nord-\u65e5\u672c", "address": "2001:db8::12", "control_port": 16520,
     "data_port": 16521, "fingerprint": "EjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJCrze8=",
     "state": "down", "round_trip_us": None, "clock_offset_us": None, "clock_error_us": None,
     "paired_ms": 1700000000000}]}

PARTITIONS = {"partitions": [
    {"name": "web", "uuid": "0b5bd5f0-7d4c-4b1f-9a3b-2c7d1f6f2a11", "id": 3,
     "state": "Migrating - Running", "memory_bytes": 536870912, "vcpus": 2, "persistent": True,
     "migration": "m1"},
    {"name": "a-partition-with-quite-a-long-name-that-is-not-cut", "uuid": "u2", "id": None,
     "state": "Not Activated", "memory_bytes": 4294967296, "vcpus": 16, "persistent": True,
     "migration": None},
    {"name": "\u6771\u4eac", "uuid": "u3", "id": 4, "state": "Running", "memory_bytes": 1073741824,
     "vcpus": 1, "persistent": False, "migration": None},
    {"name": "evil\u001b[2J\u202ename\n", "uuid": "u4", "id": 5, "state": "Running",
     "memory_bytes": 1048576, "vcpus": 1, "persistent": True, "migration": None}]}

PARTITION = {
    **PARTITIONS["partitions"][0], "os_type": "hvm", "arch": "x86_64", "machine": "pc-q35-7.2",
    "hypervisor": "qemu",
    "disks": [{"target": "vda", "bus": "virtio", "type": "network",
               "source": "iqn.2026-11.org.example:san/1", "readonly": False},
              {"target": "sda", "bus": "sata", "type": "file", "source": "", "readonly": True}],
    "adapters": [{"mac": "52:54:00:12:34:56", "model": "virtio", "type": "bridge",
                  "source": "br0"}]}

HOST = {"name": "a", "version": "0.1.0", "protocol": 1,
        "fingerprint": "EjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJCrze8=", "control_port": 16520,
        "data_port": 16521, "hypervisor": {"libvirt": "9.0.0", "qemu": "7.2.17"},
        "uptime_ms": 3661000, "migrations_active": 1}

LOG = {"entries": [
    {"time_us": 1700000000000123, "host": "a", "migration": "m1", "partition": "web",
     "level": "info", "event": "started", "text": "to b"},
    {"time_us": 1700000012345000, "host": "a", "migration": "m1", "partition": "web",
     "level": "info", "event": "done", "text": "suspended 45123 us\u001b]0;x\u0007"},
    {"time_us": 1700000013000000, "host": "a", "migration": None, "partition": None,
     "level": "warning", "event": "peer-down", "text": "b does not answer"}]}


def validation(target, errors, warnings):
    """A report of lpm validate; a cause holds what must not reach a terminal as it is."""
    findings = [{"code": "LPM-6001", "severity": "error", "cause": "vda is \x1b[2Janother disk on "
                 + target, "remedy": "Give the target the same LUN", "details": {},
                 "aliases": []}] * errors
    warned = [{"code": "LPM-6060", "severity": "warning", "cause": "the clock is 3000 ms ahead",
               "remedy": "Let both hosts keep time", "details": {}, "aliases": []}] * warnings

    def check(name, rule, title, verdict, found=()):
        return {"id": name, "title": title, "rule": rule, "verdict": verdict,
                "findings": list(found), "facts": {"source": {}, "target": {}}}
    return {"partition": "web", "uuid": "u", "source": "a", "target": target, "errors": errors,
            "warnings": warnings, "took_ms": 280,
            "verdict": "not-possible" if errors else "may-be-possible",
            "checks": [check("disks", "R2.3", "The target sees the same disks",
                             "error" if errors else "pass", findings),
                       check("agent", "R2.10", "The guest agent answers", "not-applicable"),
                       check("power", "R2.10", "The target is on mains", "not-checked"),
                       check("clocks", "R2.12", "The clocks agree",
                             "warning" if warnings else "pass", warned)],
            "adapters": [{"kind": "disk", "adapter": "vda", "source": "lun1", "target": "lun7",
                          "by": "map"}]}


def refused(number, status, cause="cause"):
    return (status, error(number, cause))
