"""What went wrong, as a sentence for a person."""

from __future__ import annotations

from eostui.errors import EostuiError


def explain(error: BaseException) -> str:
    """Return a sentence for a person; what the libraries say of memory and of a GPU isn't one."""
    if isinstance(error, EostuiError):
        return str(error)
    text = str(error)
    low = text.lower()
    if (
        isinstance(error, MemoryError)
        or "out of memory" in low
        or ("memory" in low and "alloc" in low)
    ):
        return "out of memory: use a smaller `chunk_size`, a smaller network or fewer `samples`"
    if isinstance(error, RuntimeError) and ("cuda" in low or "mps" in low):
        return (
            f"the GPU failed ({text.splitlines()[0]}); `nvidia-smi` or the system's log may say why"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}"
    return f"{type(error).__name__}: {text}"
