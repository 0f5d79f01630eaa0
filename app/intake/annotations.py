"""Reads the type annotations of fields and parameters, for the code that turns texts of a request into values."""

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin


def classes_of(annotation: Any) -> frozenset[Any]:
    """Returns the classes that a value of this annotation may have."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return classes_of(arguments[0])
    if origin in (Union, UnionType):
        return frozenset[Any]().union(*map(classes_of, arguments))
    return frozenset({origin or annotation})
