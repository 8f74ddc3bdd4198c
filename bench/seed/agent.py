"""A webhook agent in the manner of Encord's documented example, for comparison: FastAPI, the official SDK, OpenCV,
the OpenAI client. It downloads the whole file, works step after step, and keeps nothing between requests."""

import base64
import json
import logging
import mimetypes
import os
from pathlib import Path

import cv2
import requests
from encord import EncordUserClient
from encord.objects import Classification
from fastapi import FastAPI
from openai import OpenAI
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

app = FastAPI()


class Click(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    project_hash: str
    data_hash: str
    frame: int = 0


class Scene(BaseModel):
    description: str = Field(description="a detailed description of the scene")


def encord_client():
    return EncordUserClient.create_with_ssh_private_key(
        ssh_private_key_path=os.environ["ENCORD_SSH_KEY_FILE"], domain=os.environ.get("ENCORD_DOMAIN", "https://api.encord.com")
    )


def download(project, row, frame):
    """The whole file, on disk, with its kind."""
    video, images = project.get_data(row.data_hash, get_signed_url=True)
    link = images[frame].file_link if images else video["file_link"]
    kind = mimetypes.guess_type(link.split("?")[0])[0] or mimetypes.guess_type(row.data_title)[0] or row.data_type.value
    if not kind.startswith(("image", "video")):
        raise ValueError(f"neither an image nor a video: {kind}")
    path = Path(f"{row.data_hash}{mimetypes.guess_extension(kind) or ''}")
    path.write_bytes(requests.get(link).content)
    return path, kind


def picture(path, kind, frame):
    if kind.startswith("image"):
        return path
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
    found, pixels = capture.read()
    capture.release()
    if not found:
        raise ValueError(f"no frame {frame}")
    still = path.with_suffix(".png")
    cv2.imwrite(str(still), pixels)
    return still


def ask(path):
    data = base64.b64encode(path.read_bytes()).decode()
    # The type is said to be JPEG whatever it is in the original; the stand-in model refuses that, so it is true here.
    mime = mimetypes.guess_type(path.name)[0]
    schema = json.dumps(Scene.model_json_schema())
    answer = OpenAI().chat.completions.create(
        model="gpt-4o",
        response_format={"type": "json_object"},
        messages=[
            {
                "role": "system",
                "content": f"You are an image analysis expert. Answer with only the JSON of this schema, a single object, not in a list: {schema}",
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Describe the scene."},
                    {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{data}", "detail": "auto"}},
                ],
            },
        ],
    )
    try:
        return Scene.model_validate_json(answer.choices[0].message.content)
    except ValidationError:
        logging.exception("the answer does not fit the schema")
        raise


@app.get("/ready")
def ready():
    return "ready"


@app.post("/")
def click(payload: Click):
    project = encord_client().get_project(payload.project_hash)
    (row,) = project.list_label_rows_v2(data_hashes=[payload.data_hash])
    row.initialise_labels()
    path, kind = download(project, row, payload.frame)
    still = picture(path, kind, payload.frame)
    scene = ask(still)
    for file in {path, still}:
        file.unlink()
    ontology = project.ontology_structure.get_child_by_title("Scene description", Classification)
    instance = ontology.create_instance()
    instance.set_answer(scene.description)
    instance.set_for_frames(payload.frame)
    row.add_classification_instance(instance)
    row.save()
