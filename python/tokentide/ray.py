"""Ray as an executor, for those who have a cluster of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class RayExecutor(Executor):
    """Runs each task as one of Ray's: ``tt.sweep(..., executor=RayExecutor())``.

    options: those of ``ray.remote``, such as ``num_cpus=1``. The workers need the package; Ray is initialised by whoever uses it.
    Raises ImportError without Ray.
    """

    def __init__(self, **options: Any) -> None:
        import ray

        self._remote: Any = ray.remote(**options)(_call) if options else ray.remote(_call)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A task of Ray's, as a future of Python's."""
        future: Future[T] = self._remote.remote(fn, args, kwargs).future()
        return future


def _call(fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
    return fn(*args, **kwargs)
