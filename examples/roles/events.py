"""What happens: the one thing that all roles share."""

import msgspec


class VideoUploaded(msgspec.Struct, frozen=True):
    video_id: str


class VideoEncoded(msgspec.Struct, frozen=True):
    video_id: str
    frames: int
