"""The answers that are given both by the SDK and by edgelabel: one for each kind of classification."""

from dataclasses import dataclass, field
from typing import Any

from encord.objects import Classification
from encord.objects.attributes import Attribute


@dataclass
class Case:
    name: str
    title: str
    # Title of an attribute → label, labels, text or number: what the stand-in model is told to answer.
    answers: dict[str, Any] = field(default_factory=dict)

    def __str__(self):
        return self.name


CASES = [
    Case("text", "Scene description", {"Scene description": 'A wet crossing, "two" cars & émigré pigeons'}),
    Case("radio", "Weather", {"Weather": "Heavy rain"}),
    Case("radio-text", "Time of day", {"Time of day": "Night", "Night remarks": "no moon"}),
    Case("radio-radio-numeric", "Time of day", {"Time of day": "Dusk", "Street lights": "Lit", "Lamps lit": 7}),
    Case("radio-without-nested", "Time of day", {"Time of day": "Day"}),
    Case("checklist", "Road users", {"Road users": ["Car", "Pedestrian"]}),
    Case("checklist-of-one", "Road users", {"Road users": ["Bicycle"]}),
    Case("numeric", "Visibility in metres", {"Visibility in metres": 120.5}),
    Case("global", "Camera position", {"Camera position": "Roof"}),
]

# Which item, and which of its frames.
PLACES = [("image", 0), ("group", 1), ("video", 17)]


def classification(project, title):
    return project.ontology_structure.get_child_by_title(title, Classification)


def sdk_instance(project, case, frame):
    """The instance that the SDK makes for a case, marked as a model's answer."""
    ontology = classification(project, case.title)
    instance = ontology.create_instance()
    for title, answer in case.answers.items():
        attribute = ontology.get_child_by_title(title, Attribute)
        instance.set_answer(options_of(attribute, answer), attribute=attribute)
    if instance.is_global():
        instance.confidence, instance.manual_annotation = 0.5, False
    else:
        instance.set_for_frames(frame, confidence=0.5, manual_annotation=False)
    return instance


def options_of(attribute, answer):
    if isinstance(answer, list):
        return [option_of(attribute, label) for label in answer]
    if getattr(attribute, "options", None):
        return option_of(attribute, answer)
    return answer


def option_of(attribute, label):
    (option,) = [option for option in attribute.options if option.label == label]
    return option


def answers_of(instance, case):
    """What an instance answers to the titles of a case, in the case's own terms."""
    found = {}
    for title in case.answers:
        attribute = instance.ontology_item.get_child_by_title(title, Attribute)
        found[title] = plain(instance.get_answer(attribute))
    return found


def plain(answer):
    if isinstance(answer, (list, tuple, set)):
        return [plain(one) for one in answer]
    return getattr(answer, "label", answer)


def comparable(row):
    """A stored row without what differs between two saves of the same thing: hashes and dates."""
    row = dict(row)
    for key in ("label_hash", "created_at", "last_edited_at"):
        row.pop(key)
    answers = []
    for hash_, answer in row["classification_answers"].items():
        assert answer["classificationHash"] == hash_
        answer = {key: value for key, value in answer.items() if key not in ("classificationHash", "createdAt", "lastEditedAt")}
        answers.append(answer)
    row["classification_answers"] = sorted(answers, key=lambda answer: (answer["featureHash"], answer["range"]))
    return row
