"""The Pareto front and its hypervolume. Losses: smaller is better, one tuple a trial."""

from collections.abc import Sequence

Losses = tuple[float, ...]


def dominates(a: Losses, b: Losses) -> bool:
    """a is nowhere worse than b and somewhere better."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def pareto(points: Sequence[Losses]) -> list[int]:
    """Indices of the points that no other point dominates, in order; of equal points the first stays."""
    kept: list[int] = []
    # In lexicographic order whatever dominates a point comes before it, and what that is dominated by itself, too:
    # so each point is held against the front so far only.
    for index in sorted(range(len(points)), key=lambda i: (points[i], i)):
        if not any(dominates(points[k], points[index]) or points[k] == points[index] for k in kept):
            kept.append(index)
    return sorted(kept)


def joined(front: Sequence[Losses], point: Losses) -> list[Losses] | None:
    """The front with a point that comes later, without those that it beats; None where it is not on it."""
    if any(dominates(other, point) or other == point for other in front):
        return None
    return [other for other in front if not dominates(point, other)] + [point]


def hypervolume(points: Sequence[Losses], reference: Losses) -> float:
    """Volume between the points and the reference corner, in units of the reference's magnitude along each axis.

    Points that are not better than the reference on every axis add nothing. Exact, by slicing along the last axis
    (While et al. 2006, doi:10.1109/TEVC.2005.851275): fine for fronts of hundreds of points in up to four objectives.
    """
    scale = [abs(r) or 1.0 for r in reference]
    gains = [tuple((r - x) / s for x, r, s in zip(point, reference, scale, strict=True)) for point in points]
    return _union(sorted({gain for gain in gains if all(g > 0 for g in gain)}))


def _union(boxes: Sequence[tuple[float, ...]]) -> float:
    """Volume of the union of boxes that span from the origin to each point."""
    if not boxes:
        return 0.0
    if len(boxes[0]) == 1:
        return max(box[0] for box in boxes)
    volume, floor = 0.0, 0.0
    for level in sorted({box[-1] for box in boxes}):
        volume += (level - floor) * _union(sorted({box[:-1] for box in boxes if box[-1] >= level}))
        floor = level
    return volume
