"""Choosing some rows of many."""


def spread(rows: int, wanted: int) -> list[int]:
    """So many places among the rows, evenly: files are often sorted by class, and their beginning holds few of them."""
    chosen = min(rows, wanted)
    return [0] if chosen == 1 else [round(i * (rows - 1) / (chosen - 1)) for i in range(chosen)]
