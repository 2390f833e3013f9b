"""What these tests import imports Ray."""

from support import ray_import

__all__ = ["ray_import"]
