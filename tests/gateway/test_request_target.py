import pytest

from services.gateway.http.request_target import join_target, split_target
from shared.problems import Problem


@pytest.mark.parametrize(
    "target, path, query",
    [
        ("/", "/", ""),
        ("/api/posts", "/api/posts", ""),
        ("/api/posts?q=a%2Fb&x", "/api/posts", "q=a%2Fb&x"),
        ("/api/posts?next=//evil/../x%00", "/api/posts", "next=//evil/../x%00"),
        ("/api/posts/", "/api/posts/", ""),
        ("/api/%70osts", "/api/posts", ""),
        ("/api/files/u/a%20b.png", "/api/files/u/a%20b.png", ""),
        ("/api/files/u/%e6%97%A5.png", "/api/files/u/%E6%97%A5.png", ""),
        ("/api/files/u/100%25.txt", "/api/files/u/100%25.txt", ""),
        ("/api/files/u/a%3Fb%23c%26.txt", "/api/files/u/a%3Fb%23c&.txt", ""),
        ("/api/files/u/...", "/api/files/u/...", ""),
        ("/api/files/u/.hidden", "/api/files/u/.hidden", ""),
        ("/api/files/u/a..b", "/api/files/u/a..b", ""),
        ("/api/files/u/{x}|y", "/api/files/u/%7Bx%7D%7Cy", ""),
        ("/api/files/u/a:b@c;d=e,f+g", "/api/files/u/a:b@c;d=e,f+g", ""),
    ],
)
def test_a_path_has_one_spelling(target: str, path: str, query: str) -> None:
    assert split_target(target) == (path, query)
    assert split_target(join_target(path, query)) == (path, query)


@pytest.mark.parametrize(
    "target",
    [
        "", "*", "api/posts", "http://evil.example/api/posts", "//evil.example/api", "localhost:80",
        "/api//posts", "/api/posts//", "/api/./posts", "/api/../admin", "/api/..", "/.", "/api/posts/%2e%2e/x",
        "/api/%2E/x", "/api/.%2e/x", "/api/a%2fb", "/api/a%2Fb", "/api/a%5cb", "/api/a\\b", "/api/%00", "/api/a%0ab",
        "/api/a%0d%0ab", "/api/%7f", "/api/%C2%85", "/api/%252e%252e/x", "/api/a%252fb", "/api/a%25252fb",
        "/api/a%255cb", "/api/%2500", "/api/%ff", "/api/%c0%ae", "/api/%ed%a0%80", "/api/%", "/api/%2", "/api/%zz",
        "/api/posts#x", "/api posts", "/api/posts?a b", "/api/posts\r\nX: y", "/api/p\x00", "/api/pösts",
        "/api/%" + "25" * 30 + "41",
    ],
)  # fmt: skip
def test_a_target_that_two_readers_could_read_differently_is_refused(target: str) -> None:
    with pytest.raises(Problem) as caught:
        split_target(target)
    assert caught.value.code == "BAD_REQUEST"
