"""The parts that the tests share: emulator, daemon, and the official SDK signed in to the emulator."""

import os
import pathlib

import pytest
from encord import EncordUserClient

from daemon import Daemon
from emulator import Emulator

ROOT = pathlib.Path(__file__).resolve().parents[2]


def program(variable, default):
    path = pathlib.Path(os.environ.get(variable, ROOT / "target/release" / default))
    path = path if path.is_absolute() else ROOT / path
    if not path.exists():
        pytest.exit(f"{path} is not there: run `make test-sdk`, or set {variable}", returncode=2)
    return str(path)


@pytest.fixture(scope="session")
def emulator():
    running = Emulator(program("EDGELABEL_EMULATOR", "examples/emulator"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def daemon(emulator, tmp_path_factory):
    running = Daemon(program("EDGELABEL_BIN", "edgelabel"), emulator, tmp_path_factory.mktemp("daemon"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def client(emulator):
    return EncordUserClient.create_with_ssh_private_key(
        ssh_private_key_path=emulator.ssh_key_file, domain=emulator.encord_domain
    )


@pytest.fixture(scope="session")
def project(emulator, client):
    return client.get_project(emulator.project)


@pytest.fixture(autouse=True)
def fresh(emulator):
    emulator.reset()


@pytest.fixture
def open_row(project, emulator):
    """Lists and initialises the row of the fixture's image, group or video."""

    def opened(kind):
        (row,) = project.list_label_rows_v2(data_hashes=[getattr(emulator, kind)])
        row.initialise_labels()
        return row

    return opened
