import pytest

from services.gateway.cache import middleware as cache_module
from services.gateway.cache.policy import OURS
from tests.gateway.cache.answers import SHARED, Clock, numbered
from tests.gateway.upstreams import Upstream


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cache_module.response_cache, "__defaults__", (OURS, clock))
    return clock


@pytest.fixture
def posts(posts: Upstream) -> Upstream:
    posts.behaviour = numbered(SHARED)
    return posts
