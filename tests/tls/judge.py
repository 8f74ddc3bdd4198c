"""The TLS of the real daemon, judged by sslyze: versions, cipher suites, chain, and the faults that have names.
Prints a table and ends with "tls: N passed, N failed". Run by `make tls-report`."""

import os
import pathlib
import sys
import tempfile

from sslyze import (
    CertificateInfoExtraArgument,
    Scanner,
    ScanCommand,
    ScanCommandAttemptStatusEnum,
    ScanCommandsExtraArguments,
    ServerNetworkLocation,
    ServerScanRequest,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/sdk"))
from daemon import Daemon  # noqa: E402
from emulator import Emulator  # noqa: E402

MODERN = {
    "TLS 1.3": {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
    # With an ECDSA key: forward secrecy and authenticated encryption, nothing else.
    "TLS 1.2": {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    },
}
OLD = {
    "SSL 2.0": ScanCommand.SSL_2_0_CIPHER_SUITES,
    "SSL 3.0": ScanCommand.SSL_3_0_CIPHER_SUITES,
    "TLS 1.0": ScanCommand.TLS_1_0_CIPHER_SUITES,
    "TLS 1.1": ScanCommand.TLS_1_1_CIPHER_SUITES,
}
NEW = {"TLS 1.2": ScanCommand.TLS_1_2_CIPHER_SUITES, "TLS 1.3": ScanCommand.TLS_1_3_CIPHER_SUITES}
OTHERS = {
    ScanCommand.CERTIFICATE_INFO,
    ScanCommand.ELLIPTIC_CURVES,
    ScanCommand.HEARTBLEED,
    ScanCommand.OPENSSL_CCS_INJECTION,
    ScanCommand.ROBOT,
    ScanCommand.SESSION_RENEGOTIATION,
    ScanCommand.TLS_1_3_EARLY_DATA,
    ScanCommand.TLS_COMPRESSION,
    ScanCommand.TLS_EXTENDED_MASTER_SECRET,
}


class Table:
    def __init__(self):
        self.passed = self.failed = 0

    def row(self, name, seen, right):
        self.passed += bool(right)
        self.failed += not right
        print(f"{'ok  ' if right else 'FAIL'}  {name:<28} {seen}")


def scan(port, authority):
    """What sslyze found, by command; a command that could not be carried out is an error."""
    request = ServerScanRequest(
        server_location=ServerNetworkLocation(hostname="localhost", port=port, ip_address="127.0.0.1"),
        scan_commands={*OLD.values(), *NEW.values(), *OTHERS},
        scan_commands_extra_arguments=ScanCommandsExtraArguments(
            certificate_info=CertificateInfoExtraArgument(custom_ca_file=pathlib.Path(authority))
        ),
    )
    scanner = Scanner()
    scanner.queue_scans([request])
    (result,) = scanner.get_results()
    if result.scan_result is None:
        raise RuntimeError(f"sslyze cannot reach the daemon: {result.connectivity_error_trace}")

    def found(command):
        attempt = getattr(result.scan_result, command.value)
        if attempt.status != ScanCommandAttemptStatusEnum.COMPLETED:
            raise RuntimeError(f"sslyze could not finish {command.value}: {attempt.error_reason} {attempt.error_trace}")
        return attempt.result

    return found


def judge_versions(table, found):
    for name, command in OLD.items():
        accepted = [suite.cipher_suite.name for suite in found(command).accepted_cipher_suites]
        table.row(name, ", ".join(accepted) or "refused", not accepted)
    for name, command in NEW.items():
        accepted = {suite.cipher_suite.name for suite in found(command).accepted_cipher_suites}
        table.row(name, ", ".join(sorted(accepted)), accepted and accepted <= MODERN[name])
    curves = found(ScanCommand.ELLIPTIC_CURVES)
    names = {curve.name for curve in curves.supported_curves or []}
    table.row("key exchange", ", ".join(sorted(names)), {"X25519", "secp256r1"} <= names <= {"X25519", "secp256r1", "secp384r1"})


def judge_chain(table, found):
    (deployment,) = found(ScanCommand.CERTIFICATE_INFO).certificate_deployments
    leaf = deployment.received_certificate_chain[0]
    days = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days
    table.row("leaf", f"valid for {days} days, {leaf.public_key().curve.name}, {leaf.signature_hash_algorithm.name}",
              days <= 397 and leaf.public_key().curve.name == "secp256r1" and leaf.signature_hash_algorithm.name == "sha256")
    table.row("chain", f"{len(deployment.received_certificate_chain)} certificates, in order",
              len(deployment.received_certificate_chain) == 2 and deployment.received_chain_has_valid_order)
    by_store = {validation.trust_store.name: validation for validation in deployment.path_validation_results}
    own = next(validation for name, validation in by_store.items() if name == "Supplied CA file")
    table.row("trusted by the box's CA", own.validation_error or "yes", own.was_validation_successful)
    public = [name for name, validation in by_store.items() if validation is not own and validation.was_validation_successful]
    table.row("trusted by nobody else", ", ".join(public) or "yes", not public)
    table.row("no SHA-1 in the chain", "", not deployment.verified_chain_has_sha1_signature)


def judge_faults(table, found):
    heartbleed = found(ScanCommand.HEARTBLEED).is_vulnerable_to_heartbleed
    table.row("Heartbleed", "vulnerable" if heartbleed else "no", not heartbleed)
    injection = found(ScanCommand.OPENSSL_CCS_INJECTION).is_vulnerable_to_ccs_injection
    table.row("CCS injection", "vulnerable" if injection else "no", not injection)
    robot = found(ScanCommand.ROBOT).robot_result
    table.row("ROBOT", robot.name, robot.name.startswith("NOT_VULNERABLE"))
    compression = found(ScanCommand.TLS_COMPRESSION).supports_compression
    table.row("compression", "offered" if compression else "no", not compression)
    renegotiation = found(ScanCommand.SESSION_RENEGOTIATION)
    table.row("renegotiation by the client", "possible" if renegotiation.is_vulnerable_to_client_renegotiation_dos else "refused",
              not renegotiation.is_vulnerable_to_client_renegotiation_dos)
    early = found(ScanCommand.TLS_1_3_EARLY_DATA).supports_early_data
    table.row("early data (can be replayed)", "taken" if early else "refused", not early)
    secret = found(ScanCommand.TLS_EXTENDED_MASTER_SECRET).supports_ems_extension
    table.row("extended master secret", "yes" if secret else "no", secret)


def main():
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        emulator = Emulator(os.environ["EDGELABEL_EMULATOR"], "--folder", str(pathlib.Path(folder) / "emulator"))
        box = pathlib.Path(folder) / "box"
        box.mkdir()
        daemon = Daemon(os.environ["EDGELABEL_BIN"], emulator, box)
        try:
            found = scan(daemon.port, daemon.authority)
            judge_versions(table, found)
            judge_chain(table, found)
            judge_faults(table, found)
        finally:
            daemon.stop()
            emulator.stop()
    print(f"tls: {table.passed} passed, {table.failed} failed")
    sys.exit(1 if table.failed or not table.passed else 0)


if __name__ == "__main__":
    main()
