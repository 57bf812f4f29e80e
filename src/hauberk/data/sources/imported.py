"""Data from the user's own code."""

from typing import Any

from hauberk.data.objects import open_object
from hauberk.data.source import RawData, Request
from hauberk.spec.imports import call, import_object

USAGE = "pkg.module:attr or path/to/file.py:attr"


def open_imported(request: Request, usage: str) -> RawData:
    """The data set that an import path names, or what the callable there returns.

    Args:
        request: the import path, `pkg.module:attr` or `path/to/file.py:attr`.
        usage: what may be written instead, for error messages.

    Raises:
        InputError: if the path names nothing of the kind, or if its code fails.
    """
    spec = request.spec
    named: Any = import_object(spec, "data", usage)
    if not callable(named) or (hasattr(named, "__getitem__") and not isinstance(named, type)):
        return open_object(named, request)
    return open_object(call(named, spec, "data"), request, lambda: call(named, spec, "data"))
