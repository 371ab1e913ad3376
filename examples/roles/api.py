"""The web app: it stores uploads as events and handles none of them. Run it: uvicorn roles.api:web."""

from fastapi import FastAPI
from pydantic import BaseModel

import dawdle
from dawdle.fastapi import lifespan
from roles.events import VideoUploaded
from roles.queues import app


class Upload(BaseModel):
    video_id: str


web = FastAPI(lifespan=lifespan(lambda: app(listen=())))


@web.post("/videos", status_code=202)
async def upload(video: Upload) -> dict[str, str]:
    return {"event_id": await dawdle.signal(VideoUploaded(video.video_id))}
