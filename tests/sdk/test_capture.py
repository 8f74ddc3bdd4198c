"""Uploads: the SDK makes them at the emulator, and reads what edgelabel took there."""

import json
import subprocess

import pytest
import requests
from conftest import program
from encord.exceptions import EncordException

CONFIG = """
[encord]
domain = "{domain}"
ssh_key_file = "{key}"
[journal]
path = "journal.db"
[[camera]]
name = "gate"
device = "/dev/video0"
folder = "{folder}"
dataset = "{dataset}"
agent = "/"
project = "{project}"
[[agent]]
path = "/"
classification = ["Scene description", "Weather"]
[model]
base_url = "{model}"
name = "stand-in"
[media]
cache_dir = "cache"
"""


@pytest.fixture
def picture(tmp_path, client, emulator):
    row = client.get_project(emulator.project).list_label_rows_v2(data_hashes=[emulator.image])[0]
    item = client.get_storage_item(row.backing_item_uuid, sign_url=True)
    file = tmp_path / "gate-1.jpg"
    file.write_bytes(requests.get(item.get_signed_url(), timeout=10).content)
    emulator.reset()
    return file


@pytest.fixture
def capture(picture, emulator, tmp_path):
    """Takes the picture to Encord, with further options."""
    file = tmp_path / "config.toml"
    file.write_text(
        CONFIG.format(
            domain=emulator.encord_domain,
            key=emulator.ssh_key_file,
            folder=emulator.folder,
            dataset=emulator.dataset,
            project=emulator.project,
            model=emulator.model_base_url,
        )
    )
    command = [program("EDGELABEL_BIN", "edgelabel"), "capture", "gate", "--picture", picture, "--json", "--config", file]
    return lambda *more: json.loads(subprocess.run([*command, *more], check=True, capture_output=True).stdout)


@pytest.fixture
def captured(capture):
    return capture()


def kinds(emulator):
    return [call["call"] for call in emulator.calls()]


def test_the_sdk_uploads_and_finds_its_item_once(client, emulator, picture):
    folder, dataset = client.get_storage_folder(emulator.folder), client.get_dataset(emulator.dataset)
    item = folder.upload_image(picture, client_metadata={"camera": "gate"})
    assert [row.backing_item_uuid for row in dataset.link_items([item])] == [item]
    assert dataset.link_items([item]) == []
    assert [row.title for row in dataset.list_data_rows()] == ["gate-1.jpg"]


def test_what_is_no_image_is_refused_to_the_sdk(client, emulator, tmp_path):
    file = tmp_path / "broken.jpg"
    file.write_bytes(b"no picture")
    with pytest.raises(EncordException):
        client.get_storage_folder(emulator.folder).upload_image(file)


def test_edgelabel_makes_the_calls_that_the_sdk_makes(client, emulator, picture, captured):
    ours = kinds(emulator)
    folder, dataset = client.get_storage_folder(emulator.folder), client.get_dataset(emulator.dataset)
    emulator.reset()
    dataset.link_items([folder.upload_image(picture)])
    assert kinds(emulator) == ours


def test_the_sdk_reads_the_storage_item_that_edgelabel_made(client, emulator, picture, captured):
    item = client.get_storage_item(captured["item"], sign_url=True)
    assert (item.name, item.width, item.height, item.mime_type) == ("gate-1.jpg", 640, 360, "image/jpeg")
    assert str(item.parent_folder_uuid) == emulator.folder
    assert item.client_metadata["camera"] == "gate"
    assert requests.get(item.get_signed_url(), timeout=10).content == picture.read_bytes()
    assert [str(one.uuid) for one in client.get_storage_folder(emulator.folder).list_items()] == [captured["item"]]


def test_the_sdk_reads_the_data_row_that_edgelabel_made(client, emulator, captured):
    (row,) = client.get_dataset(emulator.dataset).data_rows
    assert (row.uid, str(row.backing_item_uuid)) == (captured["data"], captured["item"])
    assert client.get_dataset(emulator.dataset).link_items([captured["item"]]) == []


def test_the_sdk_opens_the_label_row_of_what_edgelabel_took(project, captured):
    (row,) = project.list_label_rows_v2(data_hashes=[captured["data"]])
    row.initialise_labels()
    assert (row.data_title, row.width, row.height) == ("gate-1.jpg", 640, 360)


def test_the_sdk_reads_the_answers_that_the_captured_picture_carries(project, emulator, capture):
    emulator.fix({"Weather": "Sunny"})
    captured = capture("--label")
    emulator.fix(None)
    assert captured["label"] == "saved"
    (row,) = project.list_label_rows_v2(data_hashes=[captured["data"]])
    row.initialise_labels()
    answers = {one.classification_name: one.get_answer() for one in row.get_classification_instances()}
    assert set(answers) == {"Scene description", "Weather"}
    assert answers["Scene description"].startswith("STAND-IN: a 640x360 picture")
    assert answers["Weather"].label == "Sunny"
    assert not any(one.get_annotations()[0].manual_annotation for one in row.get_classification_instances())
    assert emulator.remarks() == []
