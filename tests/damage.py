"""Files as a full disk, a crash or a bad sector leave them."""

from collections.abc import Iterator
from pathlib import Path


def ways(content: bytes) -> Iterator[bytes]:
    """Truncated to nothing, and to half; one bit flipped at the start, in the middle and at the end."""
    yield from (b"", content[: len(content) // 2], content[:-1])
    for place in (0, len(content) // 2, len(content) - 1):
        yield content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def damages(folder: Path) -> Iterator[Path]:
    """Each file below a folder in each way, and gone; whoever iterates finds one damaged at a time, and sees to it that
    it is whole again.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for content in ways(path.read_bytes()):
            replace(path, content)
            yield path
        path.unlink()
        yield path


def replace(path: Path, content: bytes) -> None:
    """By another file: time and size of a file that is written twice in a moment may be the same."""
    fresh = path.with_name("fresh")
    fresh.write_bytes(content)
    fresh.replace(path)
