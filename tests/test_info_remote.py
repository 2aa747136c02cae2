"""`gtzan-stream info` of a remote set shows its cache."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gtzan_stream.cli import app
from gtzan_stream.store.manifest import Manifest
from tests.bad_server import Server


def info(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["info", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_info_shows_the_cache_and_the_rate_of_a_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GTZAN_STREAM_CACHE_GB", "0.5")
    pattern = r"cache: (\S+) holds (\d+) of (\d+) shards, ([\d.]+) MB of at most 0\.5 GB(; .*)?\n"
    rate = r"; the tables were downloaded just now, ([\d.]+) MB at [\d.]+ MB/s"
    folder, held, n_shards, megabytes, speed = re.search(pattern, info(server.address)).groups()  # type: ignore[union-attr]
    manifest = Manifest.open(server.address)
    assert (Path(folder).parent, held, megabytes) == (tmp_path / "cache", "0", "0.0")
    assert int(n_shards) == len(manifest.shards)
    tables_mb = sum(table["size"] for table in manifest.tables) / 1e6
    assert float(re.fullmatch(rate, speed)[1]) == pytest.approx(tables_mb, rel=0.01)  # type: ignore[index]
    sizes = [manifest.path(shard.name).stat().st_size for shard in manifest.shards[:2]]
    (manifest.folder.cache / f"0123-old.tar.{10**7}.part").write_bytes(bytes(10**6))
    found = re.search(pattern, info(server.address)).groups()  # type: ignore[union-attr]
    assert found[1] == "2"
    assert float(found[3]) == pytest.approx(sum(sizes) / 1e6, abs=0.051)  # the part file of another set was removed
    assert found[4] is None


def test_info_as_json_has_the_cache(server: Server, shards: Path):
    cache = json.loads(info("--json", server.address))["cache"]
    assert cache["shards"] == cache["bytes"] == 0
    assert cache["limit_bytes"] == 20 * 10**9
    assert cache["downloaded_bytes"] > 0 < cache["download_s"]
    assert json.loads(info("--json", str(shards)))["cache"] is None
    assert "cache:" not in info(str(shards))
