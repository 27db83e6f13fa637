"""What this machine's CPU can do, as far as quantization must know."""

import os
import platform
from functools import cache
from pathlib import Path


@cache
def cpu_flags() -> frozenset[str]:
    """The kernel's feature flags, such as 'avx2'; empty where the system does not tell (then nothing is assumed)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next((line for line in lines if line.startswith("model name")), "")
    return name.partition(":")[2].strip() or platform.processor() or platform.machine()


def is_arm() -> bool:
    return platform.machine().lower() in ("aarch64", "arm64")


def lacks_float16() -> bool:
    """True where arithmetic in float16 is done in float32, with casts before and after."""
    return not ({"avx512_fp16", "asimdhp"} & cpu_flags())


def usable_cores() -> int:
    """Cores that this process may use: in a container fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def saturates() -> bool:
    """True where the product of an 8-bit activation and an 8-bit signed weight may overflow 16 bits on the way.

    x86 without VNNI adds pairs of such products in int16 with saturation; weights must then keep to 7 bits
    (reduce_range).
    """
    return not is_arm() and not ({"avx512_vnni", "avx_vnni"} & cpu_flags())
