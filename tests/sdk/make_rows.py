"""Writes tests/data/sdk-rows: label rows before and after the official SDK put a model's answer into them.

    python tests/sdk/make_rows.py

Needs nothing but the SDK (tests/requirements.txt). Hashes and dates are fixed, so that the rows only change when the
SDK does; the Rust tests in src/encord hold edgelabel's own merge to them.
"""

import datetime
import json
import pathlib
from unittest.mock import MagicMock

from encord.objects import Classification, LabelRowV2, Object, OntologyStructure
from encord.objects.attributes import Attribute
from encord.objects.classification_instance import ClassificationInstance
from encord.objects.coordinates import BoundingBoxCoordinates, PolygonCoordinates, PointCoordinate
from encord.objects.frames import Range
from encord.objects.ontology_object_instance import ObjectInstance
from encord.ontology import Ontology
from encord.orm.label_row import LabelRowMetadata
from encord.orm.ontology import Ontology as OrmOntology

from cases import CASES, Case, options_of

TESTS = pathlib.Path(__file__).resolve().parents[1]
TARGET = TESTS / "data" / "sdk-rows"
EDITOR = json.loads((TESTS / "support" / "ontology.json").read_text())
STRUCTURE = OntologyStructure.from_dict(EDITOR)

MADE = datetime.datetime(2023, 2, 9, 14, 12, 3, tzinfo=datetime.timezone.utc)
NOW = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=datetime.timezone.utc)
HASH = "Model/+1"
PERSON = "annotator@example.org"
DATA = "038ed92d-dbe8-4991-a3aa-6ede35d6e62d"
IMAGES = [f"{n}38ed92d-dbe8-4991-a3aa-6ede35d6e62d" for n in range(3)]
FRAMES = {"video": 7, "image": 0, "img_group": 1}


def listing(kind):
    return {
        "label_hash": "label-1", "branch_name": "main", "created_at": "2023-02-09T14:12:03.123456",
        "last_edited_at": "2023-02-09T14:12:03.123456", "data_hash": DATA, "group_hash": None, "dataset_hash": "dataset-1",
        "dataset_title": "Roads", "data_title": "clip", "data_type": kind.upper(), "data_link": None,
        "label_status": "LABELLED", "annotation_task_status": "ASSIGNED",
        "workflow_graph_node": {"uuid": "11111111-2222-3333-4444-555555555555", "title": "Annotate"}, "is_shadow_data": False,
        "frames_per_second": 25.0 if kind == "video" else None, "number_of_frames": {"video": 50, "image": 1, "img_group": 3}[kind],
        "duration": 2.0 if kind == "video" else None, "height": 480, "width": 640, "spaces": {}, "is_valid": True,
        "priority": 0.5, "task_uuid": None, "file_type": "video/mp4" if kind == "video" else "image/png",
        "backing_item_uuid": None,
    }


def unit(kind, data_hash, sequence):
    made = {"data_hash": data_hash, "data_title": f"clip {sequence}", "data_link": f"store/{data_hash}",
            "data_type": "video/mp4" if kind == "video" else "image/png",
            "data_sequence": str(sequence) if kind == "img_group" else sequence, "width": 640, "height": 480, "labels": {}}
    if kind == "video":
        made |= {"data_duration": 2.0, "data_fps": 25.0}
    return made


def untouched(kind):
    """A row as Encord returns it, without labels."""
    hashes = IMAGES if kind == "img_group" else [DATA]
    return {
        "label_hash": "label-1", "branch_name": "main", "created_at": "2023-02-09 14:12:03", "last_edited_at": "2023-02-09 14:12:03",
        "dataset_hash": "dataset-1", "dataset_title": "Roads", "data_title": "clip", "data_hash": DATA, "data_type": kind,
        "data_units": {data_hash: unit(kind, data_hash, n) for n, data_hash in enumerate(hashes)},
        "object_answers": {}, "classification_answers": {}, "object_actions": {}, "label_status": "LABELLED",
        "annotation_task_status": "ASSIGNED", "is_valid": True, "spaces": {}, "export_hash": None, "exported_at": None,
    }


def opened(kind, row):
    instance = OrmOntology(title="Roads", structure=STRUCTURE, ontology_hash="ontology-1", created_at=MADE, last_edited_at=MADE,
                           description="")
    label_row = LabelRowV2(LabelRowMetadata.from_dict(listing(kind)), MagicMock(), Ontology(instance, MagicMock()))
    label_row.from_labels_dict(row)
    return label_row


def as_read(label_row):
    """A row that the SDK would save, as Encord returns it afterwards."""
    return label_row.to_encord_dict() | {"created_at": "2023-02-09 14:12:03", "last_edited_at": "2023-02-09 14:12:03", "is_valid": True}


def with_a_persons_work(kind):
    """Objects with static and dynamic attributes, and a classification on many frames."""
    label_row = opened(kind, untouched(kind))
    frames = [3, 4, 7] if kind == "video" else [FRAMES[kind]]
    car = ObjectInstance(STRUCTURE.get_child_by_hash("Obj/Car1", Object), object_hash="Car+obj1")
    lane = ObjectInstance(STRUCTURE.get_child_by_hash("Obj+Lane", Object), object_hash="Laneobj1")
    for one, place in [
        (car, BoundingBoxCoordinates(height=0.25, width=0.5, top_left_x=0.125, top_left_y=0.3)),
        (lane, PolygonCoordinates([PointCoordinate(0.1, 0.2), PointCoordinate(0.6, 0.2), PointCoordinate(0.4, 0.9)])),
    ]:
        for frame in frames:
            one.set_for_frames(place, frame, created_at=MADE, created_by=PERSON, last_edited_at=MADE, last_edited_by=PERSON, overwrite=True)
        label_row.add_object_instance(one)
    car.set_answer("Tatra", STRUCTURE.get_child_by_hash("AttMake1", Attribute))
    lights = STRUCTURE.get_child_by_hash("AttBrak1", Attribute)
    car.set_answer(lights.options[0], lights, frames=frames)
    weather = place_instance(label_row, Case("", "Weather", {"Weather": "Sunny"}), Range(0, 20) if kind == "video" else FRAMES[kind], "Weather1",
                             created_at=MADE, last_edited_at=MADE, created_by=PERSON, last_edited_by=PERSON)
    assert weather.confidence == 1.0
    return label_row


def answered(label_row, case, frames, classification_hash, **facts):
    ontology = STRUCTURE.get_child_by_title(case.title, Classification)
    instance = ClassificationInstance(ontology, classification_hash=classification_hash)
    for title, answer in case.answers.items():
        attribute = ontology.get_child_by_title(title, Attribute)
        instance.set_answer(options_of(attribute, answer), attribute=attribute)
    instance.set_for_frames([] if instance.is_global() else frames, **facts)
    return instance


def place_instance(label_row, case, frames, classification_hash, **facts):
    instance = answered(label_row, case, frames, classification_hash, **facts)
    label_row.add_classification_instance(instance)
    return instance


def by_the_model(label_row, case, frame, classification_hash=HASH):
    return place_instance(label_row, case, frame, classification_hash, created_at=NOW, last_edited_at=NOW, confidence=0.5,
                          manual_annotation=False)


def plain_answer(case):
    """The case as edgelabel's own answer: feature node hashes instead of titles."""
    ontology = STRUCTURE.get_child_by_title(case.title, Classification)
    attributes = []
    for title, answer in case.answers.items():
        attribute = ontology.get_child_by_title(title, Attribute)
        chosen = options_of(attribute, answer)
        if isinstance(chosen, list):
            value = {"choices": [option.feature_node_hash for option in chosen]}
        elif isinstance(chosen, str):
            value = {"text": chosen}
        elif isinstance(chosen, (int, float)):
            value = {"number": chosen}
        else:
            value = {"choice": chosen.feature_node_hash}
        attributes.append({"attribute": attribute.feature_node_hash, "value": value})
    return {"feature": ontology.feature_node_hash, "attributes": attributes}


def answer_the_car(label_row, frame):
    """Its make, once for all frames, and its brake lights on this frame; both marked as a model's."""
    (car,) = label_row.get_object_instances(filter_ontology_object=STRUCTURE.get_child_by_hash("Obj/Car1", Object))
    car._static_answer_map["AttMake1"].set("Skoda", manual_annotation=False)
    lights = STRUCTURE.get_child_by_hash("AttBrak1", Attribute)
    off = lights.options[1]
    car.set_answer(off, lights, frames=frame, overwrite=True)
    for answer in car._dynamic_answer_manager._range_index.answers():
        answer.is_manual_annotation = answer.get() != off


def write(name, kind, case, before, after, merged, answer=None, object_hash=None):
    golden = {"merged": merged, "frame": FRAMES[kind], "hash": HASH, "object": object_hash, "answer": answer or plain_answer(case),
              "listing": listing(kind), "before": before, "after": after}
    (TARGET / f"{name}.json").write_text(json.dumps(golden, indent=1) + "\n")


def main():
    TARGET.mkdir(parents=True, exist_ok=True)
    extra = [Case("checklist-of-none", "Road users", {"Road users": []}), Case("numeric-whole", "Visibility in metres", {"Visibility in metres": 120})]
    for case in [*CASES, *extra]:
        label_row = opened("video", untouched("video"))
        by_the_model(label_row, case, FRAMES["video"])
        write(f"new-{case.name}", "video", case, untouched("video"), label_row.to_encord_dict(), "Added")

    text = CASES[0]
    for kind, frame in FRAMES.items():
        before = as_read(with_a_persons_work(kind))
        label_row = opened(kind, before)
        by_the_model(label_row, text, frame)
        write(f"beside-a-persons-work-{kind}", kind, text, before, label_row.to_encord_dict(), "Added")

        # The person's weather on this very frame gives way; on the others it stays.
        case = Case("", "Weather", {"Weather": "Heavy rain"})
        label_row = opened(kind, before)
        (weather,) = label_row.get_classification_instances(filter_ontology_classification=STRUCTURE.get_child_by_hash("Cls/Weat"))
        if kind == "video":
            weather.remove_from_frames(frame)
            by_the_model(label_row, case, frame)
            write("cut-out-of-a-range", kind, case, before, label_row.to_encord_dict(), "Added")
        else:
            label_row.remove_classification(weather)
            place_instance(label_row, case, frame, "Weather1", created_at=MADE, created_by=PERSON, last_edited_at=NOW, confidence=0.5,
                           manual_annotation=False)
            write(f"replaced-{kind}", kind, case, before, label_row.to_encord_dict(), "Replaced")

    for kind, frame in FRAMES.items():
        before = as_read(with_a_persons_work(kind))
        label_row = opened(kind, before)
        answer_the_car(label_row, frame)
        car = {"feature": "Obj/Car1", "attributes": [{"attribute": "AttMake1", "value": {"text": "Skoda"}},
                                                      {"attribute": "AttBrak1", "value": {"choice": "OptBrkOf"}}]}
        write(f"object-{kind}", kind, None, before, label_row.to_encord_dict(), "Replaced", answer=car, object_hash="Car+obj1")

    print(f"{len(list(TARGET.iterdir()))} files in {TARGET}")


if __name__ == "__main__":
    main()
