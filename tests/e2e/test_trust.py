# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Who may talk to a host. A stranger gets no further than the TLS handshake, whatever he tries, and
nothing that he does disturbs a migration under way."""

import contextlib
import itertools
import json
import os
import secrets
import sqlite3
import subprocess
import textwrap

import pytest

from lab import lpmd, proc
from support import (SLOW, assert_answers, assert_clean, await_copying, await_end, begin, clients,
                     error_of, home, move, nothing_changes, other)

CONTROL, DATA = 16520, 16521


def state_file(lab, where, name):
    return os.path.join(lab.lab.host_dir(where), "lib-lpm", name)


def address(lab, where):
    return lab.state["hosts"][where]["address"]


def curl(lab, where, url, *options):
    """(exit code, HTTP status or 000, words of curl) of a request from within a host or the
    client's place."""
    done = proc.run(lab.enter(where, "curl", "-sS", "-k", "-m", "20", "-o", "/dev/null",
                              "-w", "%{http_code}", *options, url), check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Options for curl: a certificate of the kind that hosts have, which nobody here has paired."""
    folder = tmp_path_factory.mktemp("stranger")
    proc.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
              "-nodes", "-subj", "/CN=alpha", "-days", "2", "-keyout", f"{folder}/key",
              "-out", f"{folder}/crt"])
    return ("--cert", f"{folder}/crt", "--key", f"{folder}/key")


def key_of(lab, where):
    return ("--cert", state_file(lab, where, "host.crt"), "--key", state_file(lab, where, "host.key"))


# ---- the control port ----

def test_paired_host_is_served(lab):
    """The control of the tests below: with the right key the same request is answered."""
    url = f"https://{address(lab, 'beta')}:{CONTROL}/v1/peer/host"
    assert curl(lab, "alpha", url, *key_of(lab, "alpha"))[:2] == (0, "200")


def test_paired_host_gets_peer_paths_only(lab):
    base = f"https://{address(lab, 'beta')}:{CONTROL}"
    for path in ("/v1/host", "/v1/partitions", "/v1/migrations", "/v1/log", "/v1/movers",
                 "/v1/host/peers"):
        assert curl(lab, "alpha", base + path, *key_of(lab, "alpha"))[:2] == (0, "404")
    assert curl(lab, "alpha", base + "/v1/host/invites", "-X", "POST", "-d", "{}",
                *key_of(lab, "alpha"))[:2] == (0, "404")


def test_paired_host_gets_no_memory_before_the_switch(lab, tiny):
    """The partition's pages are given outside of the movers only where it stands still for good."""
    source, target, identity = begin(lab, tiny, *SLOW)
    await_copying(lab, source, identity)
    url = f"https://{address(lab, source)}:{CONTROL}/v1/peer/migrations/{identity}/pages"
    asked = json.dumps({"lengths": [128 << 20], "pages": [128 << 20, 0], "size": 4096})
    refused = curl(lab, target, url, "-X", "POST", "-d", asked, *key_of(lab, target))
    assert lab.lpm(source, "stop", tiny)[0] == 0
    assert_clean(lab)
    assert refused[:2] == (0, "409"), refused


@pytest.mark.parametrize("path", ["/v1/peer/host", "/v1/host", "/"])
def test_no_certificate(lab, path):
    code, status, words = curl(lab, "client", f"https://{address(lab, 'beta')}:{CONTROL}{path}")
    assert code != 0 and status == "000", (code, status, words)


@pytest.mark.parametrize("path", ["/v1/peer/host", "/v1/host", "/"])
def test_foreign_certificate(lab, stranger, path):
    """Its name is that of a paired host; what counts is the key."""
    url = f"https://{address(lab, 'beta')}:{CONTROL}{path}"
    code, status, words = curl(lab, "client", url, *stranger)
    assert code != 0 and status == "000", (code, status, words)


def test_certificate_of_a_peer_without_its_key(lab, stranger):
    """The certificate goes over the wire: who has seen it has nothing."""
    code, status, _ = curl(lab, "client", f"https://{address(lab, 'beta')}:{CONTROL}/v1/peer/host",
                           "--cert", state_file(lab, "alpha", "host.crt"), *stranger[2:])
    assert code != 0 and status == "000"


def test_older_tls(lab):
    url = f"https://{address(lab, 'beta')}:{CONTROL}/v1/peer/host"
    code, status, _ = curl(lab, "alpha", url, "--tls-max", "1.2", *key_of(lab, "alpha"))
    assert code != 0 and status == "000"


def test_plain_http(lab):
    for port in (CONTROL, DATA):
        code, status, _ = curl(lab, "client", f"http://{address(lab, 'beta')}:{port}/v1/peer/host")
        assert code != 0 and status == "000"


def test_wrong_server_is_not_believed(lab, stranger):
    """Somebody answers at the address of a peer with a key of his own: he is told nothing."""
    where = "alpha"
    lpmd.stop(lab.lab, lab.state, "beta")
    try:
        line = lab.enter("beta", "openssl", "s_server", "-accept", str(CONTROL), "-quiet",
                         "-cert", stranger[1], "-key", stranger[3], "-www")
        server = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            reach = lab.enter(where, "bash", "-c",
                              f"exec 3<>/dev/tcp/{address(lab, 'beta')}/{CONTROL}")
            proc.wait_until("the impostor", lambda: proc.run(reach, check=False).returncode == 0, 10)
            lab.add_guest("lure", mem=96, where=where, no_start=False, append="ledger.mem=4M")
            with nothing_changes(lab):
                code, document = lab.lpm(where, "migrate", "lure", "--to", "beta")
                assert code == 4
                error_of(document, "LPM-2003")
            lab.remove_guest("lure")
        finally:
            server.kill()
            server.wait()
    finally:
        lpmd.start(lab.lab, lab.state, "beta")


# ---- the data port ----

TALK = textwrap.dedent("""\
    import socket, sys
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
    s.sendall(bytes.fromhex(sys.argv[3]))
    got = b""
    try:
        while chunk := s.recv(4096):
            got += chunk
    except ConnectionResetError:
        pass
    print(got.hex() or "nothing")
    """)


def talk(lab, where, hexadecimal):
    """Connects to a host's data port, says something and returns what comes until it is closed; a
    connection that stays open for 20 s is an error."""
    return proc.run(lab.enter("client", "/usr/bin/python3", "-c", TALK, address(lab, where),
                              str(DATA), hexadecimal)).strip()


def test_unknown_session(lab):
    assert talk(lab, "beta", secrets.token_hex(16)) == "nothing"
    assert talk(lab, "beta", "00" * 16) == "nothing"


def test_silence_and_half_an_id(lab):
    """Nobody holds a descriptor of lpmd's by saying nothing."""
    assert talk(lab, "beta", "") == "nothing"
    assert talk(lab, "beta", "aa" * 7) == "nothing"


def session_of(lab, where, identity):
    """What an attacker cannot know but might have seen on the wire: the session's id."""
    with contextlib.closing(sqlite3.connect(state_file(lab, where, "lpmd.db"))) as db:
        for (document,) in db.execute("SELECT doc FROM migrations WHERE id = ?", (identity,)):
            return json.loads(document)["session"]
    raise AssertionError("the journal does not know the migration")


RELAY = textwrap.dedent("""\
    import socket, subprocess, sys, threading
    out = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30)
    out.sendall(bytes.fromhex(sys.argv[3]))
    door = socket.create_server(("127.0.0.1", 0))
    tls = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % door.getsockname()[1],
                            "-tls1_3", "-psk_identity", sys.argv[4], "-psk", "55" * 32, "-brief"],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    inner, _ = door.accept()
    def carry(a, b):
        try:
            while chunk := a.recv(65536):
                b.sendall(chunk)
        except OSError:
            pass
        b.shutdown(socket.SHUT_WR)
    threading.Thread(target=carry, args=(inner, out), daemon=True).start()
    carry(out, inner)
    words, _ = tls.communicate(timeout=20)
    print("established" if b"CONNECTION ESTABLISHED" in words else "refused")
    """)


def test_intruder_on_a_session(lab, tiny):
    """He knows the session's id, connects first of all and again, speaks garbage, and TLS with a
    key of his own. The migration goes on and arrives whole."""
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        session = session_of(lab, target, identity)
        talk(lab, target, session + secrets.token_hex(600))
        for name in ("lpm", session):
            assert proc.run(lab.enter("client", "/usr/bin/python3", "-c", RELAY,
                                      address(lab, target), str(DATA), session, name)
                            ).strip() == "refused"
        document = await_end(lab, source, identity)
        assert document["state"] == "done", document["error"]
        assert document["report"]["stream_hash"]["identical"] is True
        assert home(lab, tiny) == target
    assert_clean(lab)


# ---- codes ----

def invite(lab, where):
    code, document = lab.lpm(where, "host", "invite")
    assert code == 0
    return document["code"]


def pair(lab, where, peer, code, name=None):
    return lab.lpm(where, "host", "pair", name or peer, address(lab, peer), "--code", code)


def other_code(code):
    """A code of the right form that was never given."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    places = [i for i, c in enumerate(code) if c in alphabet][:2]
    for a, b in itertools.product(alphabet, repeat=2):
        tried = list(code)
        tried[places[0]], tried[places[1]] = a, b
        if "".join(tried) != code:
            yield "".join(tried)


def peers(lab, where):
    return [p["name"] for p in lab.lpm(where, "host", "list")[1]["peers"]]


def unpair(lab):
    """Ends the pairing of alpha and beta, on both, by a word to one."""
    assert lab.lpm("alpha", "host", "unpair", "beta")[0] == 0
    proc.wait_until("beta to have been told", lambda: peers(lab, "beta") == [], 10)
    assert peers(lab, "alpha") == []


@contextlib.contextmanager
def unpaired(lab):
    """Meanwhile the hosts do not know each other."""
    unpair(lab)
    try:
        yield
    finally:
        if peers(lab, "alpha"):
            unpair(lab)
        assert pair(lab, "beta", "alpha", invite(lab, "alpha"))[0] == 0


def refused(answer):
    code, document = answer
    assert code == 4, document
    error_of(document, "LPM-2004")


def test_wrong_spent_and_good_codes(lab, tiny):
    with unpaired(lab):
        code = invite(lab, "alpha")
        wrong = [answer for answer in
                 (pair(lab, "beta", "alpha", c) for c, _ in zip(other_code(code), range(40)))
                 if answer[1].get("error", {}).get("code") != "LPM-1001"]
        # Most are recognised as mistyped; the rest get as far as the other host, which refuses.
        for answer in wrong:
            refused(answer)
        for mistyped in ("", "hello", code[:-1], code + "0"):
            answer = pair(lab, "beta", "alpha", mistyped)
            assert answer[0] in (2, 4) and answer[1]["error"]["code"] in ("LPM-1001", "LPM-1009",
                                                                        "LPM-2004")
        assert peers(lab, "beta") == []
        assert pair(lab, "beta", "alpha", code)[0] == 0
        unpair(lab)
        refused(pair(lab, "beta", "alpha", code))
    move(lab, tiny)


def test_code_does_not_outlive_lpmd(lab):
    """A code is in no file: who restarts lpmd takes all of them back."""
    with unpaired(lab):
        code = invite(lab, "alpha")
        lpmd.stop(lab.lab, lab.state, "alpha")
        lpmd.start(lab.lab, lab.state, "alpha")
        refused(pair(lab, "beta", "alpha", code))


def test_code_is_in_no_file(lab):
    code = invite(lab, "alpha")
    plain = code.replace("-", "")
    for folder in ("lib-lpm", "etc-lpm", "log"):
        for where, _, names in os.walk(os.path.join(lab.lab.host_dir("alpha"), folder)):
            for name in names:
                with open(os.path.join(where, name), "rb") as f:
                    text = f.read()
                assert code.encode() not in text and plain.encode() not in text, name


# ---- revocation ----

def test_revoked_peer_is_refused(lab, tiny):
    """It was away when it was unpaired, so that it does not know it yet and tries."""
    where = home(lab, tiny)
    peer = other(where)
    url = f"https://{address(lab, peer)}:{CONTROL}/v1/peer/host"
    assert curl(lab, where, url, *key_of(lab, where))[:2] == (0, "200")
    lpmd.stop(lab.lab, lab.state, where)
    try:
        assert lab.lpm(peer, "host", "unpair", where)[0] == 0
        code, status, _ = curl(lab, where, url, *key_of(lab, where))
        assert code != 0 and status == "000"
    finally:
        lpmd.start(lab.lab, lab.state, where)
    assert peers(lab, where) == [peer]
    try:
        with clients(lab, tiny), nothing_changes(lab):
            code, document = lab.lpm(where, "migrate", tiny, "--to", peer)
            assert code == 4
            error_of(document, "LPM-2003")
    finally:
        lab.lpm(where, "host", "unpair", peer)
        assert pair(lab, where, peer, invite(lab, peer))[0] == 0
    move(lab, tiny)
    assert_answers(lab, tiny)


def test_pairing_twice_is_refused(lab):
    code, document = pair(lab, "beta", "alpha", invite(lab, "alpha"))
    assert code == 4
    error_of(document, "LPM-2005")


def test_pairing_with_itself_is_refused(lab):
    code, document = pair(lab, "alpha", "alpha", invite(lab, "alpha"), name="myself")
    assert code == 4
    error_of(document, "LPM-2007")


# ---- the socket ----

def as_user(lab, where, groups, *words):
    line = ["setpriv", "--reuid", "65534", "--regid", "65534", *groups, "--", lab.program("lpm"),
            *words]
    return proc.run(lab.enter(where, *line), check=False)


def test_socket_is_for_root_and_the_group(lab):
    refused_one = as_user(lab, "alpha", ["--clear-groups"], "list")
    assert refused_one.returncode in (4, 5), refused_one
    assert "LPM-1" in refused_one.stderr and refused_one.stdout == ""
    group = proc.run(lab.enter("alpha", "getent", "group", "lpm")).split(":")[2]
    member = as_user(lab, "alpha", ["--groups", group], "list")
    assert (member.returncode, member.stderr) == (0, "")
