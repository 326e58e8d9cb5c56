"""A hook backend as one writes it for SRS: stream keys with FastAPI, a dictionary in the place of the database."""

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()
stream_keys = {"sk_good_5b1f": {"is_active": True}, "sk_blocked_c09e": {"is_active": False}}
heard = []


class Hook(BaseModel):
    action: str
    client_id: str
    ip: str
    vhost: str
    app: str
    stream: str  # stream key from streamer
    param: str  # query string


@app.post("/hooks/stream/start")
async def on_stream_start(hook: Hook):
    heard.append(hook)
    streamer = stream_keys.get(hook.stream)
    if not streamer or not streamer["is_active"]:
        raise HTTPException(status_code=403, detail="Invalid stream key")
    return {"code": 0}  # SRS expects code=0 to allow


@app.post("/hooks/stream/view")
async def on_stream_view(hook: Hook):
    heard.append(hook)
    if "ticket=paid" not in hook.param:
        return {"code": 402, "msg": "Buy a ticket first"}
    return 0


@app.post("/hooks/stream/stop")
async def on_stream_stop(hook: Hook):
    heard.append(hook)
    return 0


@app.get("/heard")
async def what_was_heard():
    return heard
