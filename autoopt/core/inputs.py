"""The inputs of a model: arrays by name. Torch tensors or numpy arrays, which are sliced alike."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch of n inputs: arrays (n, ...) by name, in the order in which the module takes them.

    `lengths` (n,) of those named in `sequences`, whose second axis is padded at its end: whatever is taken out is cut
    to its longest, so that a single sentence is served, and a batch trained, at its own length.
    """

    arrays: Mapping[str, Any]
    lengths: Any | None = None
    sequences: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __iter__(self) -> Iterator[Any]:
        """The arrays, so that a module is called as `module(*inputs)`."""
        return iter(self.arrays.values())

    def __getitem__(self, index: Any) -> "Inputs":
        """The inputs at a slice or an array of places."""
        return self.cut(self.arrays_at(index), index)

    def cut(self, taken: dict[str, Any], index: Any) -> "Inputs":
        """Arrays that were taken at `index`, on another device maybe, with sequences cut to the longest of them."""
        if self.lengths is None:
            return Inputs(taken)
        lengths = self.lengths[index]
        longest = max(1, int(lengths.max()))
        cut = {name: array[:, :longest] if name in self.sequences else array for name, array in taken.items()}
        return Inputs(cut, lengths, self.sequences)

    def arrays_at(self, index: Any) -> dict[str, Any]:
        """The same, not cut."""
        return {name: array[index] for name, array in self.arrays.items()}

    def batches(self, size: int) -> Iterator["Inputs"]:
        return (self[start : start + size] for start in range(0, len(self), size))

    def numpy(self) -> "Inputs":
        """The same memory as numpy arrays."""
        lengths = None if self.lengths is None else self.lengths.numpy()
        return Inputs({name: array.numpy() for name, array in self.arrays.items()}, lengths, self.sequences)
