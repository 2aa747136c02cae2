"""Keys of the feature service: who may connect, and what is said of keys that cannot be used."""

import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
import zmq.auth

from gtzan_stream.errors import UserError
from gtzan_stream.service import ServedLoader, Server
from gtzan_stream.service.keys import make_keys, secure_client
from gtzan_stream.service.stats import Stats
from tests.serve_cases import free_port, serving


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "ours"
    make_keys(folder)
    return folder


@pytest.fixture(scope="module")
def address(tiny: Path, keys: Path) -> Iterator[str]:
    """A server with the keys."""
    with serving(tiny, keys=keys) as (address,):
        yield address


def copy(keys: Path, folder: Path, *names: str) -> Path:
    """Copy some of the keys."""
    folder.mkdir()
    for name in names:
        shutil.copy2(keys / name, folder)
    return folder


def ask(address: str, keys: Path | None) -> list[dict]:
    with Stats(address, keys=keys) as stats:
        return stats.ask()


# --- files ------------------------------------------------------------------------------------------------------------


def test_only_their_owner_can_read_new_keys(keys: Path):
    assert sorted(path.name for path in keys.iterdir()) == [
        "client.key",
        "client.key_secret",
        "server.key",
        "server.key_secret",
    ]
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    public = {name: zmq.auth.load_certificate(keys / f"{name}.key")[0] for name in ("client", "server")}
    assert public["client"] != public["server"]
    for name in public:
        assert zmq.auth.load_certificate(keys / f"{name}.key")[1] is None
        assert zmq.curve_public(zmq.auth.load_certificate(keys / f"{name}.key_secret")[1]) == public[name]


def test_keys_are_not_overwritten_and_not_put_beside_other_files(keys: Path, tmp_path: Path):
    before = {path: path.read_bytes() for path in keys.iterdir()}
    with pytest.raises(UserError, match="holds keys, which servers and trainers may use: name a new folder"):
        make_keys(keys)
    assert {path: path.read_bytes() for path in keys.iterdir()} == before
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="holds other files: name a new folder"):
        make_keys(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_for_keys_that_cannot_be_made_is_an_error_in_one_sentence(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="keys cannot be written: Not a directory; choose another folder"):
        make_keys(tmp_path / "file/keys")


# --- connections ------------------------------------------------------------------------------------------------------


def test_a_client_needs_only_its_secret_key_and_the_public_key_of_the_server(address: str, keys: Path, tmp_path: Path):
    own = copy(keys, tmp_path / "own", "client.key_secret", "server.key")
    assert ask(address, own)[0]["address"] == address


def test_a_server_needs_only_its_secret_key_and_the_public_key_of_clients(tiny: Path, keys: Path, tmp_path: Path):
    own = copy(keys, tmp_path / "own", "server.key_secret", "client.key")
    with serving(tiny, keys=own) as (address,):
        assert ask(address, keys)[0]["address"] == address


def test_clients_without_the_keys_are_refused(address: str, keys: Path, tmp_path: Path):
    make_keys(tmp_path / "others")
    of_other_server = copy(keys, tmp_path / "a", "client.key_secret")
    shutil.copy2(tmp_path / "others/server.key", of_other_server)
    of_other_client = copy(keys, tmp_path / "b", "server.key")
    shutil.copy2(tmp_path / "others/client.key_secret", of_other_client)
    reasons: dict[Path | None, str] = {
        None: r"it needs keys \(keys=, --served-keys, or --keys with --stats\)",
        tmp_path / "others": "it does not have the keys in .*others, is no server",
        of_other_server: "it does not have the keys in .*a, is no server",
        of_other_client: "it does not know the client's key in .*b: copy the keys",
    }
    for used, reason in reasons.items():
        with pytest.raises(UserError, match=reason):
            ask(address, used)
    assert ask(address, keys)


def test_a_loader_with_another_key_is_refused_at_once(address: str, keys: Path, tmp_path: Path):
    make_keys(tmp_path / "others")
    of_other_client = copy(keys, tmp_path / "b", "server.key")
    shutil.copy2(tmp_path / "others/client.key_secret", of_other_client)
    begun = time.monotonic()
    with pytest.raises(UserError, match=f"^the server at {address} cannot be used: it does not know the client's key"):
        ServedLoader(address, keys=of_other_client)
    assert time.monotonic() - begun < 5, "not 15 s, as for a server that is being started"


def test_a_server_without_keys_is_not_used_by_a_client_with_keys(tiny: Path, keys: Path):
    with serving(tiny) as (address,), pytest.raises(UserError, match=r"it has no keys|it does not have the keys"):
        ask(address, keys)


# --- keys that cannot be used -----------------------------------------------------------------------------------------


def use(keys: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        secure_client(socket, keys)


def replace(old: str, new: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("client.key_secret", Path.unlink, "does not exist: copy it from the folder of keys, or make keys with"),
        ("server.key", Path.unlink, "does not exist: copy it from the folder of keys, or make keys with"),
        ("server.key", lambda path: (path.unlink(), path.mkdir()), r"cannot be read \(Is a directory\): check its"),
        ("server.key", lambda path: path.write_text(""), "is damaged .*: copy it again, or make keys with"),
        ("server.key", lambda path: path.write_bytes(b"\xff" * 99), "is damaged .*: copy it again, or make keys with"),
        ("server.key", replace('key = "', 'key = "12345'), "is damaged .*a key is missing, or has other characters"),
        ("client.key_secret", replace("secret-key", "other"), "is damaged .*a key is missing"),
        ("client.key_secret", replace('secret-key = "', 'secret-key = "~'), "is damaged .*has other characters"),
        ("client.key_secret", lambda path: path.chmod(0o640), r"can be used by other users: run `chmod 600 .*secret`"),
    ],
)
def test_a_key_that_cannot_be_used_is_named_with_the_remedy(
    keys: Path, tmp_path: Path, name: str, damage: Callable[[Path], object], message: str
):
    own = copy(keys, tmp_path / "own", "client.key_secret", "server.key")
    damage(own / name)
    with pytest.raises(UserError, match=f"{name} {message}"):
        use(own)


def test_two_keys_of_different_pairs_in_a_file_are_noticed(keys: Path, tmp_path: Path):
    own = copy(keys, tmp_path / "own", "client.key_secret", "server.key")
    public, other = (zmq.auth.load_certificate(keys / f"{name}.key")[0].decode() for name in ("client", "server"))
    replace(public, other)(own / "client.key_secret")
    with pytest.raises(UserError, match="its two keys do not belong together"):
        use(own)


@pytest.mark.parametrize("name", ["server.key_secret", "client.key"])
def test_a_server_with_damaged_keys_does_not_start(tiny: Path, keys: Path, tmp_path: Path, name: str):
    own = copy(keys, tmp_path / "own", "server.key_secret", "client.key")
    (own / name).write_text("")
    with pytest.raises(UserError, match=f"{name} is damaged"):
        Server(tiny, f"tcp://127.0.0.1:{free_port()}", keys=own)
