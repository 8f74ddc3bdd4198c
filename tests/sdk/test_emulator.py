"""The unmodified SDK against the emulator: what it accepts is what the emulator is known to speak."""

import pytest
from cases import CASES, PLACES, answers_of, classification, sdk_instance
from encord import EncordUserClient
from encord.exceptions import EncordException
from encord.objects import Object
from encord.objects.coordinates import BoundingBoxCoordinates


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("kind,frame", PLACES)
def test_the_sdk_reads_back_what_it_saved(project, open_row, case, kind, frame):
    row = open_row(kind)
    row.add_classification_instance(sdk_instance(project, case, frame))
    row.save()

    (instance,) = open_row(kind).get_classification_instances()
    assert answers_of(instance, case) == case.answers


def test_what_is_not_in_a_save_is_deleted(project, open_row, emulator):
    row = open_row("video")
    weather, scene = (sdk_instance(project, case, 3) for case in (CASES[1], CASES[0]))
    row.add_classification_instance(weather)
    row.add_classification_instance(scene)
    row.save()
    again = open_row("video")
    again.remove_classification(next(one for one in again.get_classification_instances() if one.classification_name == "Weather"))
    again.save()
    (left,) = emulator.row(emulator.video)["classification_answers"].values()
    assert left["featureHash"] == scene.feature_hash


def test_objects_are_kept_with_their_attributes(project, open_row):
    row = open_row("video")
    car = project.ontology_structure.get_child_by_title("Car", Object).create_instance()
    car.set_for_frames(BoundingBoxCoordinates(height=0.2, width=0.3, top_left_x=0.1, top_left_y=0.4), frames=4)
    car.set_answer("Estate", attribute=car.ontology_item.get_child_by_title("Make"))
    row.add_object_instance(car)
    row.save()
    (found,) = open_row("video").get_object_instances()
    assert found.get_answer(found.ontology_item.get_child_by_title("Make")) == "Estate"
    assert found.get_annotation(4).coordinates.top_left_x == 0.1


def test_a_second_answer_on_the_same_frame_is_refused(project, open_row):
    row = open_row("image")
    row.add_classification_instance(sdk_instance(project, CASES[1], 0))
    row.save()
    with pytest.raises(EncordException):
        open_row("image").add_classification_instance(sdk_instance(project, CASES[1], 0))


def test_a_key_that_the_backend_does_not_know_is_refused(emulator, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    stranger = EncordUserClient.create_with_ssh_private_key(text.decode(), domain=emulator.encord_domain)
    with pytest.raises(EncordException):
        stranger.get_project(emulator.project)


def test_nothing_odd_was_sent(project, open_row, emulator):
    row = open_row("group")
    for case in CASES[:2]:
        row.add_classification_instance(sdk_instance(project, case, 2))
    row.save()
    assert emulator.remarks() == []
    assert [call["call"] for call in emulator.calls()] == ["ListRows", "CreateRow", "SaveRow"]


def test_titles_that_stand_twice_are_not_found(project):
    with pytest.raises(EncordException):
        classification(project, "Twice")
