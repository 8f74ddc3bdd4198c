"""Random ontologies, and what a model's answers mean in their terms: told from the order of questions and options alone,
so that nothing of edgelabel's own way back from keys and words is believed."""

import base64
import random

TITLES = [
    "", " ", "C", "C++", "C#", "c", "Yes", "No", "null", "None", "Car", "Car", "Car (2)", "Weather", "Weather", "weather", "天気", "天気 ", "Müller",
    "a\u200bb", "ab", "line\nbreak", '"quoted" {braces} \\', "1", "01", "true", "ﷺ", "🚗", "option 1", "-", "_", "…", "الطقس", "A" * 300, "<b>", "%s",
]
# Kinds of attributes, the nestable one more often.
KINDS = ["text", "numeric", "radio", "radio", "radio", "checklist"]


class Maker:
    """One random ontology, in the form of Encord's `editor`."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.made = 0

    def ontology(self):
        count = self.dice.choice([1, 2, 3, 5, 8, 13])
        classifications = [self.classification(number + 1) for number in range(count)]
        # One that is surely asked.
        classifications.append(self.classification(count + 1, "text", archived=False))
        return {"objects": [], "classifications": classifications}

    def classes(self, shapes):
        """Object classes, one for each shape, with static and dynamic attributes."""
        objects = []
        for number, shape in enumerate(shapes, 1):
            # The SDK knows nothing of attributes under an option of a dynamic one.
            dynamic = [self.dice.random() < 0.5 for _ in range(self.dice.randint(1, 5))]
            attributes = [self.attribute(f"{number}.{n}", 0 if per_frame else 2, dynamic=per_frame) for n, per_frame in enumerate(dynamic, 1)]
            attributes.append(self.attribute(f"{number}.9", 0, "numeric", archived=False))
            objects.append({"id": str(number), "name": f"{self.title()} {shape}", "color": "#D33115", "shape": shape,
                            "featureNodeHash": self.hash(), "attributes": attributes})
        return {"objects": objects, "classifications": []}

    def classification(self, number, kind=None, archived=None):
        # Encord nests up to seven levels.
        attribute = self.attribute(f"{number}.1", self.dice.choice([0, 1, 2, 6]), kind, archived)
        made = {"id": str(number), "featureNodeHash": self.hash(), "attributes": [attribute]}
        return made | ({"level": "global"} if self.dice.random() < 0.15 else {})

    def attribute(self, uid, depth, kind=None, archived=None, dynamic=False):
        kind = kind or self.dice.choice(KINDS)
        made = {"id": uid, "name": self.title(), "type": kind, "featureNodeHash": self.hash(), "required": self.dice.random() < 0.5,
                "dynamic": dynamic, "archived": self.dice.random() < 0.1 if archived is None else archived}
        if kind in ("radio", "checklist"):
            # Long lists only at the top: a tree that fits into one call is asked whole, and in order.
            long = uid.count(".") == 1 and self.dice.random() < 0.1
            count = self.dice.choice([260, 400, 1100]) if long else self.dice.choice([1, 2, 3, 4, 7])
            made["options"] = [self.option(f"{uid}.{n + 1}", depth if kind == "radio" and count < 10 else 0) for n in range(count)]
        return made

    def option(self, uid, depth):
        label = self.title()
        made = {"id": uid, "label": label, "value": self.dice.choice([label.replace(" ", "_").lower(), "edited", ""]),
                "featureNodeHash": self.hash(), "archived": self.dice.random() < 0.1}
        if depth > 0 and self.dice.random() < 0.4:
            made["options"] = [self.attribute(f"{uid}.{n + 1}", depth - 1) for n in range(self.dice.randint(1, 2))]
        return made

    def title(self):
        return self.dice.choice(TITLES) if self.dice.random() < 0.7 else f"{self.dice.choice(TITLES)} {self.made}"

    def hash(self):
        """Eight base64 characters, as Encord's hashes are."""
        self.made += 1
        return base64.b64encode(self.made.to_bytes(3, "big") + self.dice.randbytes(3)).decode()


def flat(attributes, under=None):
    """The attributes that are asked, depth first, each with the option that it hangs under."""
    for attribute in attributes:
        options = [option for option in attribute.get("options", []) if not option["archived"]]
        if attribute["archived"]:
            continue
        if attribute["type"] in ("text", "numeric") or options:
            yield attribute, under
        if attribute["type"] == "radio":
            for option in options:
                yield from flat(option.get("options", []), (attribute, option))


def meant(attributes, properties, values):
    """Feature node hash of an attribute → what is answered: a text, a number, the hash of an option or a list of them.
    `properties` and `values` are those of all calls, in the order asked."""
    asked = list(flat(attributes))
    assert len(asked) == len(properties) == len(values), f"{len(asked)} attributes, {len(properties)} questions"
    answers = {}
    for (attribute, under), schema, value in zip(asked, properties, values):
        if under and answers.get(under[0]["featureNodeHash"]) != under[1]["featureNodeHash"]:
            continue
        answer = meaning(attribute, schema, value)
        if answer is not None:
            answers[attribute["featureNodeHash"]] = answer
    return answers


def meaning(attribute, schema, value):
    if value is None or value == "":
        return None
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    options = [option["featureNodeHash"] for option in attribute.get("options", []) if not option["archived"]]

    def chosen(schema, value):
        place = schema["enum"].index(value) if "enum" in schema else value - 1
        assert len(schema.get("enum", options)) == len(options)
        return options[place]

    if attribute["type"] == "radio":
        return chosen(schema, value)
    if attribute["type"] == "checklist":
        ticked = {chosen(schema["items"], one) for one in value}
        return [option for option in options if option in ticked]
    return value
