"""Files by name, in a folder or in a bucket of S3. A reader sees all of a file or nothing, whoever is killed when.

    StorageError        the bucket cannot be reached, or refuses what is asked
    └── Refused         trying again does not help: the credentials, the bucket's name, or a package that is missing

A name has slashes, as in `landing/.requests`. Folders whose name begins with a dot are private to this machine.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Protocol

from filelock import FileLock

from cdr_assets import aws
from cdr_assets.drafts import sweep, write_in_one_step
from cdr_assets.postgres import HeldLock, Postgres

SCHEME = "s3://"

PART_BYTES = 8 << 20
"""A larger file is uploaded in parts of this size, two at a time."""

CREDENTIALS_KEPT = timedelta(minutes=5)
"""After so long, those of a profile or of a role are asked for again."""

PATIENCE = timedelta(minutes=2)
"""For so long a request is sent again to a store that is busy or gone."""

_BLOCK_BYTES = 1 << 20
_READ_AT_ONCE = 16


class StorageError(Exception):
    """The bucket cannot be reached, or refuses what is asked."""

    permanent = False


class Refused(StorageError):
    """Trying again does not help."""

    permanent = True


class Readable(Protocol):
    """Where a file is. Its text is a path or an address that DuckDB reads."""

    @property
    def name(self) -> str:
        """The last part of its name."""

    def open(self, mode: Literal["rb"], /) -> IO[bytes]:
        """The content, which stays readable when the file is deleted. Raises FileNotFoundError, StorageError."""


class Stored(NamedTuple):
    """A file of a storage."""

    name: str
    size: int
    """Bytes."""
    mark: int
    """Changes with the content: nanoseconds of the last change, or a digest of 63 bits."""
    path: Readable


class Storage(Protocol):
    """Files by name. Methods may be called from several threads and processes at once."""

    @property
    def scratch(self) -> Path:
        """A folder of this machine for files that are to be `put`."""

    def place(self, name: str) -> str:
        """What DuckDB and people read: a path, or `s3://bucket/prefix/name`."""

    def files(self, under: str, first: str = "", last: str = "") -> list[Stored]:
        """The files below the folder `under`, by name. With `first` and `last`, those in its entries from one to the
        other, both included."""

    def read(self, name: str) -> str | None:
        """The text of a file; None if there is none. Raises UnicodeDecodeError."""

    def texts(self, files: Sequence[Stored]) -> list[str | None]:
        """The texts of many small files that were listed; None for one that is gone, or that is no text."""

    def write(self, name: str, text: str) -> None:
        """Writes a small file in one step. An error leaves the former one as it was."""

    def mark_of(self, file: Path) -> int:
        """The mark that a local file will have once it is put, as far as can be told before."""

    def put(self, file: Path, name: str) -> Stored:
        """Moves a local file to its name, whole or not at all. It replaces an older one. The caller has flushed it to
        the disk if that matters."""

    def delete(self, name: str) -> None:
        """Removes a file, if there is one."""

    def lock(self, name: str) -> AbstractContextManager[object]:
        """Holds the lock of that name, which is free as soon as its holder is dead."""


@dataclass(frozen=True)
class Folder:
    """A folder that its owner alone can read. It is made by the first write."""

    root: Path
    private: str = "."
    """Where in it the drafts and the locks are, and the files that are to be put."""

    @property
    def scratch(self) -> Path:
        return self.root / self.private

    @property
    def drafts(self) -> Path:
        """What is not finished."""
        return self.scratch / ".drafts"

    def place(self, name: str) -> str:
        return str(self.root / name)

    def files(self, under: str, first: str = "", last: str = "") -> list[Stored]:
        found: list[Stored] = []
        for entry in _entries(self.root / under):
            if first <= entry.name and (not last or entry.name <= last):
                self._collect(entry, f"{under}/{entry.name}", found)
        return sorted(found, key=lambda file: file.name)

    def _collect(self, entry: os.DirEntry[str], name: str, found: list[Stored]) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):  # Gone in between.
            if not entry.is_dir():
                status = entry.stat()
                found.append(Stored(name, status.st_size, status.st_mtime_ns, Path(entry.path)))
            elif not entry.name.startswith("."):
                for inner in _entries(Path(entry.path)):
                    self._collect(inner, f"{name}/{inner.name}", found)

    def read(self, name: str) -> str | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            return (self.root / name).read_text(encoding="utf-8")
        return None

    def texts(self, files: Sequence[Stored]) -> list[str | None]:
        return [_text_of(self, file) for file in files]

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        make_folder(self.drafts)
        make_folder(path.parent)
        sweep(self.drafts)
        write_in_one_step(path, text, self.drafts)
        sync(path.parent)

    def mark_of(self, file: Path) -> int:
        return file.stat().st_mtime_ns

    def put(self, file: Path, name: str) -> Stored:
        path = self.root / name
        make_folder(path.parent)
        os.replace(file, path)
        sync(path.parent)
        status = path.stat()
        return Stored(name, status.st_size, status.st_mtime_ns, path)

    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def lock(self, name: str) -> FileLock:
        locks = self.scratch / ".locks"
        make_folder(locks)
        return FileLock(locks / f"{name}.lock", mode=0o600)


@dataclass(frozen=True)
class ReadableFolder(Folder):
    """A folder that others can read as well. What is in it can be made again, so nothing is flushed to the disk.

    One process at a time writes a name.
    """

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        make_readable_folder(path.parent)
        # What a killed process left.
        for draft in path.parent.glob(f"{path.name}.*"):
            draft.unlink(missing_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(0o600)
        draft.write_text(text, encoding="utf-8")
        self.put(draft, name)

    def put(self, file: Path, name: str) -> Stored:
        path = self.root / name
        make_readable_folder(path.parent)
        file.chmod(0o644)
        os.replace(file, path)
        # Some file systems do not keep a file's time.
        status = path.stat()
        return Stored(name, status.st_size, status.st_mtime_ns, path)


@dataclass(frozen=True)
class Bucket:
    """A bucket of S3 or of a store that speaks like it, at `url`: s3://bucket or s3://bucket/prefix.

    Credentials, endpoint and region are those of the environment, in AWS's own way. Methods raise StorageError.
    """

    url: str
    scratch: Path
    postgres: Postgres | None = field(default=None, compare=False, repr=False)
    """Has the locks."""

    @property
    def root(self) -> str:
        return self.url.rstrip("/")

    @property
    def bucket(self) -> str:
        return self.root.removeprefix(SCHEME).partition("/")[0]

    def place(self, name: str) -> str:
        return f"{self.root}/{name}"

    def files(self, under: str, first: str = "", last: str = "") -> list[Stored]:
        folder = f"{self._key(under)}/"
        # The store answers what comes after the offset, and `first` itself is included.
        offset = {"offset": folder + first[:-1] + chr(ord(first[-1]) - 1)} if first else {}
        found: list[Stored] = []
        with self._explained("list", under):
            for page in _obstore().list(self._store, folder, chunk_size=1000, **offset):
                for meta in page:
                    key = meta["path"]
                    entry = key.removeprefix(folder).partition("/")[0]
                    if last and entry > last:
                        return sorted(found, key=lambda file: file.name)
                    if entry >= first:
                        found.append(self._stored(f"{under}/{key.removeprefix(folder)}", meta))
        return sorted(found, key=lambda file: file.name)

    def read(self, name: str) -> str | None:
        with suppress(FileNotFoundError), self._explained("read", name):
            return bytes(_obstore().get(self._store, self._key(name)).bytes()).decode()
        return None

    def texts(self, files: Sequence[Stored]) -> list[str | None]:
        known = _known_texts(self.root)
        new = [file for file in files if known.get(file.name, (None,))[0] != file.mark]
        with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
            for file, text in zip(new, pool.map(partial(_text_of, self), new), strict=True):
                known[file.name] = file.mark, text
        return [known[file.name][1] for file in files]

    def write(self, name: str, text: str) -> None:
        with self._explained("write", name):
            _obstore().put(self._store, self._key(name), text.encode(), use_multipart=False)

    def mark_of(self, file: Path) -> int:
        digests = []
        with file.open("rb") as content:
            while part := content.read(PART_BYTES):
                digests.append(hashlib.md5(part, usedforsecurity=False).digest())
        if len(digests) > 1:
            return _mark(hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest() + f"-{len(digests)}")
        return _mark(digests[0].hex() if digests else hashlib.md5(usedforsecurity=False).hexdigest())

    def put(self, file: Path, name: str) -> Stored:
        size = file.stat().st_size
        with self._explained("write", name):
            put = _obstore().put(
                self._store,
                self._key(name),
                file,
                use_multipart=size > PART_BYTES,
                chunk_size=PART_BYTES,
                max_concurrency=2,
            )
        file.unlink()
        return Stored(name, size, _mark(put["e_tag"] or ""), ObjectFile(self, name))

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError), self._explained("delete", name):
            _obstore().delete(self._store, self._key(name))

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Raises LockLost at the end if somebody else could have held the lock meanwhile."""
        # Those of other buckets have other names.
        with self._locks.lock(self.place(name)) as held:
            yield
            held.check()

    def present(self, names: Sequence[str]) -> AbstractContextManager[HeldLock]:
        """Holds the locks of these names together with others who do the same."""
        return self._locks.present([self.place(name) for name in names])

    def holders(self, names: Sequence[str]) -> int:
        """How many hold locks of these names."""
        return self._locks.holders([self.place(name) for name in names])

    @property
    def _locks(self) -> Postgres:
        """The server that has the locks."""
        if not self.postgres:
            raise Refused(f"{self.root} has no locks: set CDR_WAREHOUSE to a lake with its catalogue in Postgres")
        return self.postgres

    def open(self, name: str) -> IO[bytes]:
        """The content, in a file of this machine that has no name. Raises FileNotFoundError."""
        make_folder(self.scratch)
        with ExitStack() as stack:
            content = stack.enter_context(tempfile.TemporaryFile(dir=self.scratch))
            with self._explained("read", name):
                found = _obstore().get(self._store, self._key(name))
                for block in found.stream(min_chunk_size=_BLOCK_BYTES):
                    content.write(block)
            if content.tell() != found.meta["size"]:
                raise StorageError(f"{self.place(name)} broke off while it was read: try again")
            content.seek(0)
            stack.pop_all()
        return content

    @property
    def _store(self) -> Any:
        settings = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        return _open_store(self.bucket, frozenset(settings.items()))

    def _key(self, name: str) -> str:
        prefix = self.root.removeprefix(SCHEME).partition("/")[2]
        return f"{prefix}/{name}" if prefix else name

    def _stored(self, name: str, meta: Any) -> Stored:
        return Stored(name, meta["size"], _mark(meta["e_tag"] or str(meta["last_modified"])), ObjectFile(self, name))

    @contextmanager
    def _explained(self, verb: str, name: str) -> Iterator[None]:
        """Raises FileNotFoundError for a missing file, and StorageError for everything else that the store says."""
        exceptions = _obstore().exceptions
        try:
            yield
        except FileNotFoundError as error:
            if _code(error) == "NoSuchBucket":
                raise self._error(verb, name, error) from None
            raise FileNotFoundError(2, "No such file", self.place(name)) from None
        except exceptions.BaseError as error:
            raise self._error(verb, name, error) from None

    def _error(self, verb: str, name: str, error: Exception) -> StorageError:
        said = _said(error)
        for code, (kind, remedy) in _REMEDIES.items():
            if code in said:
                return kind(f"cannot {verb} {self.place(name)}: {said}. {remedy}")
        return StorageError(f"cannot {verb} {self.place(name)}: {said}. See whether {_endpoint()} can be reached")


@dataclass(frozen=True)
class ObjectFile:
    """A file in a bucket."""

    bucket: Bucket = field(repr=False)
    object_name: str

    @property
    def name(self) -> str:
        return self.object_name.rpartition("/")[2]

    def open(self, _mode: Literal["rb"], /) -> IO[bytes]:
        return self.bucket.open(self.object_name)

    def __str__(self) -> str:
        return self.bucket.place(self.object_name)


def _text_of(storage: Storage, file: Stored) -> str | None:
    try:
        return storage.read(file.name)
    except UnicodeDecodeError:
        return None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return list(entries)
    return []


def make_folder(folder: Path) -> None:
    """Makes the folder and those above it, readable by their owner alone."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def make_readable_folder(folder: Path) -> None:
    """Makes the folder so that others can read it. One that exists keeps its permissions."""
    if not folder.exists():
        make_readable_folder(folder.parent)
        folder.mkdir(mode=0o755, exist_ok=True)
        # The umask is 077 while the warehouse is open. What a shared folder passes on, such as its group, stays.
        folder.chmod(folder.stat().st_mode | 0o055)


def sync(path: Path) -> None:
    """Flushes a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _obstore() -> Any:
    """The package. It is needed for buckets alone."""
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError:
        raise Refused(f"{SCHEME} needs the package obstore: pip install 'cdr_assets[scale]'") from None
    return obstore


@lru_cache(maxsize=8)
def _open_store(bucket: str, settings: frozenset[tuple[str, str]]) -> Any:
    """The client of the bucket. It takes the `settings` from the environment."""
    aws.credentials()  # Its error says more than that of the store.
    where = {"endpoint": endpoint} if (endpoint := aws.endpoint()) else {}
    return _obstore().store.S3Store(
        bucket,
        region=aws.region(),
        **where,
        **({} if aws.are_given() else {"credential_provider": _changing_credentials}),
        client_options={
            "allow_http": _endpoint().startswith("http://"),
            # A large file takes its time; a connection that says nothing does not.
            "timeout": timedelta(minutes=30),
            "read_timeout": timedelta(minutes=1),
        },
        retry_config={
            "max_retries": 1000,
            "retry_timeout": PATIENCE,
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
        },
    )


@lru_cache(maxsize=8)
def _known_texts(_root: str) -> dict[str, tuple[int, str | None]]:
    """Mark and text of files of a bucket that were read before, by name."""
    return {}


def _mark(e_tag: str) -> int:
    # DuckDB and JSON take it for a signed integer.
    return int.from_bytes(hashlib.sha256(e_tag.strip('"').encode()).digest()[:8], "big") >> 1


def _endpoint() -> str:
    return aws.endpoint() or "the store"


def _changing_credentials() -> dict[str, Any]:
    """Credentials for a while, as the client of the bucket takes them."""
    key_id, secret, token = aws.credentials()
    asked_again = datetime.now(timezone.utc) + CREDENTIALS_KEPT
    return {"access_key_id": key_id, "secret_access_key": secret, "token": token, "expires_at": asked_again}


_DENIED = "See whether the credentials are those of a user who may list, read, write and delete there"
_REMEDIES: dict[str, tuple[type[StorageError], str]] = {
    "NoSuchBucket": (Refused, "Make the bucket, or name another one in CDR_LANDING"),
    "InvalidBucketName": (Refused, "Name a bucket in CDR_LANDING"),
    "SignatureDoesNotMatch": (Refused, "See whether AWS_SECRET_ACCESS_KEY belongs to AWS_ACCESS_KEY_ID"),
    "InvalidAccessKeyId": (Refused, "See whether AWS_ACCESS_KEY_ID is a key of this store"),
    "403": (Refused, _DENIED),
    "401": (Refused, _DENIED),
    "301": (Refused, "Set AWS_REGION to the region of the bucket"),
}


def _said(error: Exception) -> str:
    """What the store said, in short. The whole of it repeats the request, which can have a session's token."""
    text = str(error)
    answer = re.search(r"status code: (\d{3}[ A-Za-z]*)", text)
    system = re.search(r'message: "([^"]*)"', text)
    parts = [found[1].strip() for found in (answer, None if answer else system) if found]
    return ", ".join([*parts, *filter(None, [_code(error)])]) or "no answer"


def _code(error: Exception) -> str:
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else ""
