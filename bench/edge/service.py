"""The least webhook that Encord's library for agents makes, for comparison."""

from encord_agents.fastapi import get_encord_app

app = get_encord_app()


@app.post("/")
def click():
    return None
