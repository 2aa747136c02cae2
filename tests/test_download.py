"""Downloads from a server that sends another part of the file than the requested one."""

import io
import urllib.request
from email.message import Message
from pathlib import Path

import pytest

from gtzan_stream.catalog import download as module
from gtzan_stream.download import attempts

CONTENT = bytes(range(100))


class Response(io.BytesIO):
    """A response with status 206 and the bytes from `start` on, or with status 200 and all of the content."""

    def __init__(self, start: int | None) -> None:
        super().__init__(CONTENT[start or 0 :])
        self.status, self.headers = 200 if start is None else 206, Message()
        if start is not None:
            self.headers["Content-Range"] = f"bytes {start}-99/100"


@pytest.mark.parametrize(
    ("starts", "requests"),
    [([90, None], ["bytes=50-", None]), ([90] * 5, ["bytes=50-", *[None] * 4]), ([50], ["bytes=50-"])],
)
def test_the_wrong_range_of_a_file_is_not_appended(starts, requests, tmp_path: Path, monkeypatch) -> None:
    responses, received = [Response(start) for start in starts], []

    def urlopen(request: urllib.request.Request, timeout: float) -> Response:
        received.append(request.get_header("Range"))
        return responses.pop(0)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0)
    target = tmp_path / "genres.tar.gz"
    (tmp_path / "genres.tar.gz.part").write_bytes(CONTENT[:50])
    if len(starts) > attempts.ATTEMPTS:
        with pytest.raises(attempts.DownloadError, match=r"asked for bytes from 0, got bytes 90-99/100"):
            module.download("http://localhost/genres.tar.gz", target)
    else:
        module.download("http://localhost/genres.tar.gz", target)
        assert target.read_bytes() == CONTENT
    assert received == requests
