"""Random ontologies: whatever instance of its schema the model says, the SDK loads the same answers, and would have saved
the same row. EDGELABEL_ONTOLOGIES says how many."""

import json
import os

import pytest
from cases import comparable
from encord.objects.attributes import Attribute
from ontologies import Maker, meant

COUNT = int(os.environ.get("EDGELABEL_ONTOLOGIES", "60"))


@pytest.mark.parametrize("seed", range(COUNT))
def test_any_answer_to_any_ontology_is_loaded_by_the_sdk(client, emulator, daemon, seed):
    editor = Maker(seed).ontology()
    made = emulator.tell(add_project={"editor": editor})
    answers = ask(emulator, daemon, editor, made, seed)
    saved = emulator.row(made["image"])

    project = client.get_project(made["project"])
    row = opened(project)
    instances = {instance.feature_hash: instance for instance in row.get_classification_instances()}
    expected = {feature: answer for feature, answer in answers.items() if answer}
    assert {feature: told(instance) for feature, instance in instances.items()} == {
        feature: with_empty_checklists(instances[feature], answer) for feature, answer in expected.items()
    }

    row.save()
    assert comparable(emulator.row(made["image"])) == comparable(saved)

    emulator.tell(reset=True)
    row = opened(project)
    for classification in project.ontology_structure.classifications:
        if answer := expected.get(classification.feature_node_hash):
            row.add_classification_instance(instance_of(classification, answer))
    row.save()
    assert comparable(emulator.row(made["image"])) == comparable(saved)
    assert emulator.remarks() == []


def ask(emulator, daemon, editor, made, seed):
    """Clicks, and returns what the model meant: classification → attribute → answer."""
    emulator.tell(dice=seed)
    answer = daemon.post("all", made["project"], made["image"], 0)
    questions = emulator.tell(questions=True)["questions"]
    emulator.tell(dice=None)
    properties = [schema for question in questions for schema in question["schema"]["properties"].values()]
    values = [value for question in questions for value in json.loads(question["answer"]).values()]
    roots = [classification["attributes"][0] for classification in editor["classifications"]]
    flat = meant(roots, properties, values)
    answers = {}
    for classification in editor["classifications"]:
        below = set(hashes(classification["attributes"][0]))
        answers[classification["featureNodeHash"]] = {hash_: value for hash_, value in flat.items() if hash_ in below}
    # Without any answer there is nothing to save, and that is said.
    assert answer.status_code == (200 if flat else 422), f"{answer.status_code} {answer.text}\n{daemon.tail()}"
    return answers


def hashes(attribute):
    yield attribute["featureNodeHash"]
    for option in attribute.get("options", []):
        for nested in option.get("options", []):
            yield from hashes(nested)


def opened(project):
    (row,) = project.list_label_rows_v2()
    row.initialise_labels()
    return row


def attributes_of(attributes):
    for attribute in attributes:
        yield attribute
        for option in getattr(attribute, "options", []):
            yield from attributes_of(getattr(option, "attributes", []))


def told(instance):
    """What an instance answers, as the SDK says it."""
    answers = {}
    for attribute in attributes_of(instance.ontology_item.attributes):
        answer = instance.get_answer(attribute)
        if answer is not None:
            answers[attribute.feature_node_hash] = plain(answer)
    return answers


def plain(answer):
    if isinstance(answer, (list, tuple, set)):
        return [plain(one) for one in answer]
    return getattr(answer, "feature_node_hash", answer)


def with_empty_checklists(instance, answers):
    """The SDK says of a checklist that could be answered and is not that nothing is ticked."""
    open_ = [a for a in attributes_of(instance.ontology_item.attributes) if instance.get_answer(a) == []]
    return answers | {a.feature_node_hash: [] for a in open_ if a.feature_node_hash not in answers}


def instance_of(classification, answers):
    """The instance that the SDK makes of the same answers, marked as a model's."""
    instance = classification.create_instance()
    for attribute in attributes_of(classification.attributes):
        if attribute.feature_node_hash in answers:
            instance.set_answer(answer_for(attribute, answers[attribute.feature_node_hash]), attribute=attribute)
    if instance.is_global():
        instance.confidence, instance.manual_annotation = 0.5, False
    else:
        instance.set_for_frames(0, confidence=0.5, manual_annotation=False)
    return instance


def answer_for(attribute: Attribute, answer):
    options = {option.feature_node_hash: option for option in getattr(attribute, "options", [])}
    if isinstance(answer, list):
        return [options[hash_] for hash_ in answer]
    return options[answer] if options else answer
