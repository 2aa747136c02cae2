"""ServedLoader: a loader that gets its batches from a feature service."""

import logging
import time
from collections.abc import Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from gtzan_stream import crops
from gtzan_stream.batch import Batch
from gtzan_stream.described import describe_features, describe_transform
from gtzan_stream.epochs import Epochs
from gtzan_stream.errors import UserError
from gtzan_stream.evaluation import Evaluation
from gtzan_stream.loader import Loader
from gtzan_stream.plan import EpochPlan, rows_of_rank
from gtzan_stream.prefetch import prefetch
from gtzan_stream.service.asking import Asking, Request
from gtzan_stream.service.batches import batch_of
from gtzan_stream.service.manifest import served_manifest
from gtzan_stream.service.probe import digest_of_probe
from gtzan_stream.service.protocol import Header, Refused
from gtzan_stream.service.servers import Servers
from gtzan_stream.service.stream import Stream
from gtzan_stream.store.manifest import Manifest

_log = logging.getLogger(__name__)
_WITHOUT_SERVER_S = 60.0
_SILENT_S = 2.0  # after so long without a server the user is told
_AHEAD = 4  # batches that are asked for before they are needed


class ServedEpochs(Epochs):
    """Epochs whose batches come from servers, or are made here if no server is left and the shards are at hand."""

    _servers: Servers
    _stream: Stream
    _has_shards: bool
    _is_compared = False  # whether batches made here are known to be those of the servers

    def _ahead(
        self, requests: Any, plan: EpochPlan, first: int, rank: int, world_size: int
    ) -> Generator[Any, None, None]:
        """Yield the batches of an epoch from index `first` on, asked for before they are needed."""
        asks = (
            Request(
                number,
                self._header(plan, number, rank, world_size),
                lambda header, frames: (self._read(plan, rank, world_size, header, frames), None),
                partial(self._make, requests, plan, number, rank, world_size),
            )
            for number in range(first, len(plan))
        )
        with closing(Asking[Any](self._servers, self._stream, self._maker.prefetch_executor)) as asking:
            yield from prefetch(asks, _AHEAD, asking if self.num_workers else None)

    def _header(self, plan: EpochPlan, number: int, rank: int, world_size: int) -> Header:
        """Return the request for a batch."""
        place = {"epoch": plan.epoch, "number": number, "rank": rank, "world_size": world_size}
        return {"ask": "get", "stream": self._stream.digest, **place}

    def _read(self, plan: EpochPlan, rank: int, world_size: int, header: Header, frames: list[Any]) -> Batch:
        """Return the batch in a reply."""
        n = len(rows_of_rank(rank, world_size, self.batch_size))
        return batch_of(header, frames, self._kind, self._maker, epoch=plan.epoch, n=n)

    def _make(self, requests: Any, plan: EpochPlan, index: int, rank: int, world_size: int) -> tuple[Batch, Any]:
        """Get a batch from a server, or make it here."""
        header, read = self._header(plan, index, rank, world_size), partial(self._read, plan, rank, world_size)
        begun = time.monotonic()
        while True:
            try:
                if (batch := self._servers.get(self._stream, index, header, read)) is not None:
                    return batch, None
            except Refused as refused:  # the shards here may be intact; if they are not, the error is the same
                if not self._has_shards:
                    raise refused.error from None
                return self._maker.make_batch(plan, index, self._kind, rank, world_size)
            if self._has_shards:
                self._note_makes_here()
                return self._maker.make_batch(plan, index, self._kind, rank, world_size)
            waited_s = time.monotonic() - begun
            if waited_s > _WITHOUT_SERVER_S:
                raise UserError(
                    f"no server of the feature service could be used for {_WITHOUT_SERVER_S:g} s "
                    f"({self._servers.problem()}): start them again, or give shards= (--shards) to make batches here"
                )
            if waited_s > _SILENT_S:
                self._servers.say_once(f"no server can be used: waiting up to {_WITHOUT_SERVER_S:g} s for one")
            self._servers.wait(self._stream)

    def _note_makes_here(self) -> None:
        """Warn, once, that batches are made here, and compare a probe batch with the servers'."""
        self._servers.say_once("no server of the feature service is left: making batches here")
        expected = self._servers.terms.probe_of(self._stream)
        if self._is_compared or expected is None:
            return
        own = digest_of_probe(self)
        if own not in (None, expected):
            message = "the servers computed other bits than this machine: it has another processor, device or libraries"
            if self._servers.terms.strict:
                raise UserError(f"{message}; start the servers again, or leave out strict")
            _log.warning("%s", message)
        self._is_compared = True


class ServedEvaluation(ServedEpochs, Evaluation):
    """An evaluation whose batches come from servers; see `ServedLoader.evaluation`."""

    def __init__(self, loader: "ServedLoader", part: str | None, chunks: crops.Chunks) -> None:
        super().__init__(loader, loader.labels, part, chunks)
        self._servers, self._has_shards = loader._servers, loader._has_shards
        self._stream = loader._stream.evaluation(part, chunks)


class ServedLoader(ServedEpochs, Loader):
    """A `Loader` whose batches are made by the servers of a feature service, to the bit as it would make them.

    It yields each batch once and in order, whatever happens to the servers. If one fails, the others are asked. If none
    is left, the batches are made here; without `shards`, the loader waits a minute for a server and raises UserError.

    Parameters
    ----------
    addresses : str or sequence of str
        host:port of one or more servers, as a list or with commas between them. They tell the loader of the others.
    shards : path or address, optional
        The servers' shards, to make batches here if no server is left. Without, only the manifest is downloaded.
    keys : path, optional
        Folder with the keys of the service; see ``gtzan-stream serve --make-keys``.
    strict : bool
        Refuse servers that compute other bits than the first one. By default, they are warned about.
    arguments
        Those of `Loader`. `augment` and `features` must be of kinds that can be described as JSON; see
        `gtzan_stream.described`. `device` is where the batches' tensors are put; servers choose where they compute.
        `num_workers` 0 asks for each batch when it is requested, otherwise four are asked for ahead.

    Raises
    ------
    UserError
        If no server answers within 15 s and there are no `shards`, the servers have other shards or another version,
        or an argument is wrong or cannot be described.

    Examples
    --------
    Train on one part and evaluate on another::

        with ServedLoader("127.0.0.1:5690", split="filtered", part="train", augment="study") as loader:
            for features, targets in loader: ...
            for features, labels in loader.evaluation("valid"): ...
    """

    def __init__(
        self,
        addresses: Any,
        shards: str | Path | None = None,
        *,
        keys: str | Path | None = None,
        strict: bool = False,
        **arguments: Any,
    ) -> None:
        self._servers, self._has_shards = Servers(addresses, keys=keys, strict=strict), shards is not None
        try:
            if shards is None:
                manifest = served_manifest(self._servers)
            else:
                manifest = Manifest.open(shards)
                terms = self._servers.terms
                terms.manifest_digest, terms.clips = manifest.digest, manifest.folder.address()
                if problem := self._servers.connect(0):
                    _log.warning("no server of the feature service answers (%s)", problem)
            augment = describe_transform(arguments.get("augment", "study"))
            super().__init__(manifest, **arguments)
            self._stream = Stream(
                manifest_digest=manifest.digest,
                augment=augment,
                features=describe_features(self.features),
                split=self.split,
                part=arguments.get("part"),
                batch_size=self.batch_size,
                on_error=self.on_error,
                seed=self.seed,
                crops_per_clip=self._settings["crops_per_clip"],
                shuffle_shards=self._settings["shuffle_shards"],
                shard_groups=self._settings["shard_groups"],
                views=self._kind.views,
                mixup=self._kind.mixup,
            )
        except BaseException:
            self._servers.close()
            raise

    def evaluation(self, part: str | None = None, *, chunks: crops.Chunks = "study") -> ServedEvaluation:
        """Return an iterable over the chunks of a part's clips, made by the servers; see `Loader.evaluation`."""
        return ServedEvaluation(self, part, chunks)

    def close(self) -> None:
        """Close the connections, and the shards if there are any."""
        super().close()  # first, so that what waits for a server raises the error of a closed loader
        self._servers.close()
