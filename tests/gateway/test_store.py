import pytest

from services.gateway.cache.store import MAX_PURGED, Entry, Store


def entry(
    target: str, *tags: str, size: int = 1000, names: tuple[str, ...] = (), values: tuple[str, ...] = ()
) -> Entry:
    return Entry(
        key=(target, values),
        names=names,
        tags=frozenset(tags),
        status="200 OK",
        headers=[],
        headers_of_304=[],
        cache_headers=[],
        body=bytes(size),
        etag="",
        born=0,
        fresh_until=0,
        grace_until=0,
        error_until=0,
    )


@pytest.fixture
def store() -> Store:
    return Store(50_000)


def test_what_was_put_is_found(store: Store) -> None:
    kept = entry("/a")
    assert store.put(kept, store.epoch)
    assert store.find("/a", {}) is kept
    assert store.find("/b", {}) is None


def test_its_memory_is_bounded_and_the_longest_unused_goes_first(store: Store) -> None:
    for number in range(10):
        store.put(entry(f"/{number}", "t"), 0)
    store.find("/0", {})
    for number in range(10, 20):
        store.put(entry(f"/{number}", "t"), 0)
        store.find("/0", {})
    assert store.size <= 50_000
    assert store.find("/0", {}) is not None
    assert store.find("/1", {}) is None
    assert store.find("/19", {}) is not None


def test_what_is_larger_than_all_is_not_kept_and_costs_nobody_its_place(store: Store) -> None:
    store.put(entry("/a"), 0)
    assert not store.put(entry("/b", size=60_000), 0)
    assert store.find("/a", {}) is not None


def test_many_small_and_tagged_entries_leave_nothing_behind(store: Store) -> None:
    for number in range(2000):
        store.put(entry(f"/{number}", f"t{number}", size=0), 0)
    store.purge(["t1999"])
    for number in range(2000):
        store.purge([f"t{number}"])
    assert (store.size, store._variants, store._by_tag, len(store._lru)) == (0, {}, {}, 0)


def test_variants_are_told_apart_by_the_headers_that_they_depend_on(store: Store) -> None:
    german = entry("/a", names=("HTTP_ACCEPT_LANGUAGE",), values=("de",))
    english = entry("/a", names=("HTTP_ACCEPT_LANGUAGE",), values=("en",))
    store.put(german, 0)
    store.put(english, 0)
    assert store.find("/a", {"HTTP_ACCEPT_LANGUAGE": "de"}) is german
    assert store.find("/a", {"HTTP_ACCEPT_LANGUAGE": "en"}) is english
    assert store.find("/a", {}) is None


def test_an_answer_that_depends_on_other_headers_replaces_all_variants(store: Store) -> None:
    store.put(entry("/a", names=("HTTP_ACCEPT_LANGUAGE",), values=("de",)), 0)
    store.put(entry("/a", names=("HTTP_ACCEPT",), values=("x",)), 0)
    assert store.find("/a", {"HTTP_ACCEPT_LANGUAGE": "de"}) is None
    assert store.find("/a", {"HTTP_ACCEPT": "x"}) is not None
    assert store.size == entry("/a", names=("HTTP_ACCEPT",), values=("x",)).size


def test_a_purge_forgets_what_has_the_tag_and_nothing_else(store: Store) -> None:
    store.put(entry("/a", "one", "both"), 0)
    store.put(entry("/b", "two", "both"), 0)
    store.purge(["one"])
    assert store.find("/a", {}) is None
    assert store.find("/b", {}) is not None
    store.purge(["both", "unknown"])
    assert store.size == 0


def test_what_is_outdated_stays_but_is_not_fresh(store: Store) -> None:
    one, two = entry("/a", "one"), entry("/b", "two")
    for kept in (one, two):
        kept.fresh_until, kept.grace_until, kept.error_until, kept.retry_at = 60, 90, 660, 5
        store.put(kept, store.epoch)
    since = store.epoch
    store.soft_purge(["one", "unknown"])
    assert store.find("/a", {}) is one
    assert (one.fresh_until, one.grace_until, one.error_until, one.retry_at) == (0, 0, 660, 0)
    assert two.fresh_until == 60
    assert not store.put(entry("/a", "one"), since)
    assert store.put(entry("/b", "two"), since)


def test_what_was_asked_for_before_a_purge_is_not_kept_after_it(store: Store) -> None:
    since = store.epoch
    store.purge(["one"])
    assert not store.put(entry("/a", "one", "two"), since)
    assert store.put(entry("/b", "two"), since)
    assert store.put(entry("/a", "one"), store.epoch)


def test_that_holds_however_many_tags_are_purged_meanwhile(store: Store) -> None:
    since = store.epoch
    store.purge(["one"])
    for number in range(MAX_PURGED + 5):
        store.purge([f"t{number}"])
    assert len(store._purged_at) == MAX_PURGED
    assert not store.put(entry("/a", "one"), since)
    assert store.put(entry("/a", "one"), store.epoch)


def test_a_replaced_entry_is_not_there_any_more(store: Store) -> None:
    old, new = entry("/a", "t"), entry("/a", "t")
    store.put(old, 0)
    store.put(new, 0)
    assert (store.has(old), store.has(new)) == (False, True)
    store.discard(old)
    assert store.find("/a", {}) is new
    store.discard(new)
    assert store.size == 0
