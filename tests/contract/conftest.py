"""The contract is checked against the running product."""

from tests.e2e.conftest import stack

__all__ = ["stack"]
