"""What edgelabel saves, judged by the unmodified SDK: it loads, says the same, and equals what the SDK would save."""

import pytest
from cases import CASES, PLACES, answers_of, comparable, sdk_instance


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("kind,frame", PLACES)
def test_edgelabel_saves_what_the_sdk_would_save(project, open_row, emulator, daemon, case, kind, frame):
    data = getattr(emulator, kind)
    by_sdk = open_row(kind)
    by_sdk.add_classification_instance(sdk_instance(project, case, frame))
    by_sdk.save()
    expected = comparable(emulator.row(data))

    emulator.reset()
    emulator.fix(case.answers)
    daemon.trigger(case.title, emulator.project, data, frame)
    saved = emulator.row(data)
    assert comparable(saved) == expected
    assert emulator.remarks() == []

    (instance,) = open_row(kind).get_classification_instances()
    assert answers_of(instance, case) == case.answers
    if not instance.is_global():
        assert [annotation.frame for annotation in instance.get_annotations()] == [frame]


@pytest.mark.parametrize("kind,frame", PLACES)
def test_what_others_saved_stays_when_edgelabel_adds_its_answer(project, open_row, emulator, daemon, kind, frame):
    data = getattr(emulator, kind)
    row = open_row(kind)
    row.add_classification_instance(sdk_instance(project, CASES[1], frame))
    row.save()
    before = emulator.row(data)["classification_answers"]

    emulator.fix({"Road users": ["Bicycle"]})
    daemon.trigger("Road users", emulator.project, data, frame)
    after = emulator.row(data)["classification_answers"]
    assert {hash_: after[hash_] for hash_ in before} == before
    assert len(after) == 2
    titles = {instance.classification_name for instance in open_row(kind).get_classification_instances()}
    assert titles == {"Weather", "Road users"}


def test_the_sdk_can_go_on_with_a_row_that_edgelabel_saved(project, open_row, emulator, daemon):
    emulator.fix({"Weather": "Sunny"})
    daemon.trigger("Weather", emulator.project, emulator.video, 5)
    row = open_row("video")
    row.add_classification_instance(sdk_instance(project, CASES[0], 5))
    row.save()
    titles = sorted(instance.classification_name for instance in open_row("video").get_classification_instances())
    assert titles == ["Scene description", "Weather"]
