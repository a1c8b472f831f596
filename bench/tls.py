# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Certificates for QEMU's own TLS on the hosts of a lab, so that it can be measured beside ours."""

import os

from lab import host
from lab.proc import run

FOLDER = "pki-qemu"


def _issue(folder, name, address, ca):
    key, cert = f"{folder}/{name}-key.pem", f"{folder}/{name}-cert.pem"
    request = f"{folder}/{name}.csr"
    run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", key, "-out", request, "-subj", f"/CN={address}"])
    extensions = f"{folder}/{name}.ext"
    with open(extensions, "w", encoding="ascii") as f:
        f.write(f"subjectAltName=IP:{address}\nkeyUsage=digitalSignature,keyEncipherment\n"
                "extendedKeyUsage=serverAuth,clientAuth\n")
    run(["openssl", "x509", "-req", "-in", request, "-CA", f"{ca}/ca-cert.pem", "-CAkey",
         f"{ca}/ca-key.pem", "-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", cert])
    os.chmod(key, 0o600)
    os.unlink(request)
    os.unlink(extensions)


def setup(scenario, folder):
    """Makes an authority in `folder`, gives each host a key, and makes its libvirtd read it."""
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", f"{folder}/ca-key.pem", "-out", f"{folder}/ca-cert.pem", "-days", "30",
         "-subj", "/CN=lab authority", "-addext", "keyUsage=keyCertSign,cRLSign"])
    os.chmod(f"{folder}/ca-key.pem", 0o600)
    with open(f"{folder}/ca-cert.pem", encoding="ascii") as f:
        authority = f.read()
    for where, entry in scenario.state["hosts"].items():
        conf = os.path.join(scenario.lab.host_dir(where), "etc-libvirt")
        own = os.path.join(conf, FOLDER)
        os.makedirs(own, mode=0o700, exist_ok=True)
        with open(f"{own}/ca-cert.pem", "w", encoding="ascii") as f:
            f.write(authority)
        for name in ("server", "client"):
            _issue(own, name, entry["address"], folder)
        with open(f"{conf}/qemu.conf", "a", encoding="ascii") as f:
            f.write(f'migrate_tls_x509_cert_dir = "/etc/libvirt/{FOLDER}"\n'
                    "migrate_tls_x509_verify = 1\n")
        host.stop_libvirt(scenario.lab, scenario.state, where)
        host.begin_libvirtd(scenario.lab, scenario.state, where)
    for where in scenario.state["hosts"]:
        host.await_libvirt(scenario.lab, scenario.state, where)
