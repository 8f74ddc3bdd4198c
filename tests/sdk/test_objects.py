"""Objects drawn by the SDK, their attributes answered by edgelabel on one frame, and loaded by the SDK again."""

import json

import numpy as np
import pytest
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import BoundingBoxCoordinates, PointCoordinate, PolygonCoordinates, RotatableBoundingBoxCoordinates
from ontologies import Maker, meant
from test_ontologies import attributes_of, plain

SHAPES = ["bounding_box", "rotatable_bounding_box", "polygon", "bitmask"]


def place(shape, height, width):
    if shape == "bounding_box":
        return BoundingBoxCoordinates(height=0.4, width=0.3, top_left_x=0.1, top_left_y=0.2)
    if shape == "rotatable_bounding_box":
        return RotatableBoundingBoxCoordinates(height=0.4, width=0.3, top_left_x=0.5, top_left_y=0.5, theta=30.0)
    if shape == "polygon":
        return PolygonCoordinates([PointCoordinate(0.1, 0.1), PointCoordinate(0.6, 0.2), PointCoordinate(0.4, 0.9)])
    pixels = np.zeros((height, width), dtype=bool)
    pixels[height // 4 : height // 2, width // 3 : width // 2] = True
    return BitmaskCoordinates(pixels)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind,frame", [("image", 0), ("video", 5)])
def test_objects_of_every_shape_are_answered_on_the_frame_alone(client, emulator, daemon, kind, frame, seed):
    editor = Maker(1000 + seed).classes(SHAPES)
    made = emulator.tell(add_project={"editor": editor, "video": kind == "video"})
    project = client.get_project(made["project"])
    row = opened(project, made[kind])
    drawn = draw(project, row, [frame, frame + 1] if kind == "video" else [frame])
    row.save()
    before = emulator.row(made[kind])

    emulator.tell(dice=seed)
    daemon.trigger("objects", made["project"], made[kind], frame, [hash_ for hash_, _ in drawn])
    questions = emulator.tell(questions=True)["questions"]
    emulator.tell(dice=None)
    saved = emulator.row(made[kind])
    assert {**saved, **same(before)} == {**before, **same(before)}

    row = opened(project, made[kind])
    assert len(questions) == len(drawn)
    for (hash_, shape), question in zip(drawn, questions):
        (attributes,) = [one["attributes"] for one in editor["objects"] if one["shape"] == shape]
        properties, values = question["schema"]["properties"].values(), json.loads(question["answer"]).values()
        expected = meant(attributes, properties, values)
        (instance,) = [one for one in row.get_object_instances() if one.object_hash == hash_]
        assert told(instance, frame) == {key: value for key, value in expected.items() if value != []}
        if kind == "video":
            others = told(instance, frame + 1)
            dynamic = {a.feature_node_hash for a in attributes_of(instance.ontology_item.attributes) if a.dynamic}
            assert not dynamic & set(others)

    row.save()
    again = emulator.row(made[kind])
    for section in ("object_answers", "object_actions"):
        assert sorted_entries(again[section]) == sorted_entries(saved[section])
    assert emulator.remarks() == []


def same(row):
    """What the answers may change, as it was."""
    return {key: row[key] for key in ("object_answers", "object_actions", "last_edited_at")}


def opened(project, data):
    (row,) = project.list_label_rows_v2(data_hashes=[data])
    row.initialise_labels()
    return row


def draw(project, row, frames):
    drawn = []
    for class_ in project.ontology_structure.objects:
        instance = class_.create_instance()
        for frame in frames:
            instance.set_for_frames(place(class_.shape.value, int(row.height), int(row.width)), frame)
        row.add_object_instance(instance)
        drawn.append((instance.object_hash, class_.shape.value))
    return drawn


def told(instance, frame):
    """What an object answers on a frame, without checklists that nothing is ticked in."""
    answers = {}
    for attribute in attributes_of(instance.ontology_item.attributes):
        if attribute.dynamic:
            found = [one.answer for one in instance.get_answer(attribute, filter_frame=frame, is_dynamic=True)]
            answer = found[0] if found else None
        else:
            answer = instance.get_answer(attribute)
        if answer is not None and plain(answer) != []:
            answers[attribute.feature_node_hash] = plain(answer)
    return answers


def sorted_entries(section):
    def entries(holder):
        (list_,) = [value for key, value in holder.items() if key in ("classifications", "actions")]
        # The SDK takes every attribute of an object that it reads for a person's answer, and a checklist that nothing is
        # ticked in for one that is not answered.
        answered = [{**entry, "manualAnnotation": None} for entry in list_ if entry["answers"] != []]
        return sorted(json.dumps(entry, sort_keys=True) for entry in answered)

    return {hash_: found for hash_, holder in section.items() if (found := entries(holder))}
