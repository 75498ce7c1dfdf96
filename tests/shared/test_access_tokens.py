"""Access tokens: what is believed, for how long, and what happens while auth is away."""

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.identity.access_tokens import Verifier
from shared.identity.claims import LEEWAY, LIFETIME, REMEMBERED, Claims
from shared.identity.jwks import Jwks, KeySet
from shared.identity.revocations import Revocations
from shared.identity.roles import ROLES
from shared.ids import new_id
from shared.problems import Problem
from tests.conftest import KEY_ID, FrozenClock, MakeToken
from tests.shared.conftest import in_threads


class Auth:
    """The auth service as far as it publishes keys."""

    def __init__(self, jwks: Jwks) -> None:
        self.jwks: Any = jwks
        self.asked = 0
        self.away = False

    def fetch(self) -> Jwks:
        self.asked += 1
        if self.away:
            raise OSError("auth is away")
        answer: Jwks = self.jwks
        return answer


@pytest.fixture
def auth(jwks: Jwks) -> Auth:
    return Auth(jwks)


@pytest.fixture
def verifier(auth: Auth) -> Verifier:
    return Verifier(KeySet(auth.fetch))


def refused(verify: Callable[[], object]) -> str:
    with pytest.raises(Problem) as caught:
        verify()
    return caught.value.code


def encode(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def sign(key: Any, algorithm: str = "EdDSA", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    now = int(time.time())
    payload: dict[str, Any] = {"iss": "postern", "aud": "postern", "iat": now, "exp": now + 900, "role": "admin"}
    payload |= dict.fromkeys(("sub", "sid", "jti", "email", "name"), new_id()) | claims
    return jwt.encode(payload, key, algorithm, headers={"typ": "at+jwt", "kid": KEY_ID} | (headers or {}))


def test_returns_the_claims(verifier: Verifier, make_token: MakeToken) -> None:
    user_id, session_id, token_id = new_id(), new_id(), new_id()
    now = int(time.time())
    token = make_token(user_id, "moderator", sid=session_id, jti=token_id, iat=now + 0.5, exp=now + 900, nbf=now)
    claims = verifier.verify(token)
    times = (now + 0.5, now + 900, now)
    expected = Claims(user_id, "ann@example.org", "Ann", "moderator", session_id, token_id, *times)
    assert claims == expected
    assert verifier.verify(token) is claims


@pytest.mark.parametrize(
    "claims",
    [
        *[{name: None} for name in ("sub", "email", "name", "role", "sid", "jti", "iat", "exp", "iss", "aud")],
        *[{name: 5} for name in ("email", "name", "role", "sid", "jti")],
        *[{name: "4102444800"} for name in ("iat", "exp")],
        *[{name: True} for name in ("iat", "exp")],
        {"exp": []},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": 1e308},
        {"exp": 4102444800},
        {"exp": -1},
        {"exp": 10**400},
        {"iat": float("nan")},
        {"iat": float("-inf")},
        {"iat": 0},
        {"iat": 1e308},
        {"iat": time.time() + 3600, "exp": time.time() + 3600 + 900},
        {"nbf": time.time() + 3600},
        {"nbf": float("nan")},
        {"nbf": "0"},
        {"nbf": True},
        {"name": "x" * 1001},
        *[{name: ""} for name in ("sub", "email", "name", "sid", "jti")],
        *[{name: "a\0b"} for name in ("sub", "email", "name", "sid", "jti")],
        *[{name: "\ud800"} for name in ("sub", "email", "name", "sid", "jti")],
        *[{name: "/../x"} for name in ("sub", "sid")],
        {"role": "root"},
        {"iss": "somebody"},
        {"aud": "others"},
        {"aud": ["others"]},
        {"aud": []},
    ],
)
def test_a_claim_that_is_missing_or_wrong_is_refused(
    verifier: Verifier, make_token: MakeToken, claims: dict[str, Any]
) -> None:
    assert refused(lambda: verifier.verify(make_token(**claims))) == "UNAUTHORIZED"


@pytest.mark.parametrize(
    "headers",
    [
        {"typ": "JWT"},
        {"typ": "refresh+jwt"},
        {"typ": None},
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": None},
        {"b64": False},
        {"kid": "../../etc/passwd"},
        {"kid": ""},
    ],
)
def test_a_header_that_is_wrong_is_refused(verifier: Verifier, make_token: MakeToken, headers: dict[str, Any]) -> None:
    assert refused(lambda: verifier.verify(make_token(headers=headers))) == "UNAUTHORIZED"


def raw_header(header: Any) -> Callable[[str], str]:
    return lambda token: ".".join([encode(header), *token.split(".")[1:]])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "",
        lambda token: "x",
        lambda token: "..",
        lambda token: "a.b.c",
        lambda token: "é" * 50,
        lambda token: token + ".x",
        lambda token: token.rsplit(".", 1)[0],
        lambda token: token.rsplit(".", 1)[0] + ".",
        lambda token: token[:-1],
        lambda token: token + "=",
        lambda token: token + "==",
        lambda token: token + "A",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token.replace(".", "$.", 1),
        lambda token: token[:-4] + "!" + token[-4:],
        lambda token: token[:-1] + chr(ord(token[-1]) + 1),
        lambda token: token[:-2] + ("AA" if token[-2:] != "AA" else "QQ"),
        raw_header({"alg": "none", "typ": "at+jwt", "kid": KEY_ID}),
        raw_header({"alg": "EdDSA", "typ": "at+jwt"}),
        raw_header({"alg": "EdDSA", "typ": "at+jwt", "kid": 5}),
        raw_header({"alg": "EdDSA", "typ": "at+jwt", "kid": [KEY_ID]}),
        raw_header({"alg": ["EdDSA"], "typ": "at+jwt", "kid": KEY_ID}),
        raw_header([]),
        raw_header(None),
        raw_header(5),
        raw_header(b"[" * 5000),
        raw_header(b'{"a":' * 5000),
        raw_header(b"\xff\xfe"),
        raw_header(b'{"alg": 1e999}'),
        raw_header(b'{"alg": ' + b"9" * 5000 + b"}"),
    ],
)
def test_a_malformed_token_is_refused(verifier: Verifier, make_token: MakeToken, spoil: Callable[[str], str]) -> None:
    token = make_token()
    verifier.verify(token)
    assert refused(lambda: verifier.verify(spoil(token))) == "UNAUTHORIZED"


def test_a_changed_payload_is_refused(verifier: Verifier, make_token: MakeToken) -> None:
    header, payload, signature = make_token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = ".".join([header, encode(claims | {"role": "admin"}), signature])
    assert refused(lambda: verifier.verify(forged)) == "UNAUTHORIZED"


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_another_key_or_algorithm_is_refused(verifier: Verifier, signing_key: Ed25519PrivateKey, jwks: Jwks) -> None:
    public = signing_key.public_key()
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = [
        sign(Ed25519PrivateKey.generate()),
        sign(None, "none"),
        sign(raw, "HS256"),
        sign(jwks["keys"][0]["x"].encode(), "HS256"),
        sign(rsa_key, "RS256"),
        sign(ec.generate_private_key(ec.SECP256R1()), "ES256"),
    ]
    assert {refused(lambda: verifier.verify(token)) for token in forged} == {"UNAUTHORIZED"}  # noqa: B023


@pytest.mark.parametrize("headers", [{"jwk": {}}, {"jku": "http://evil.example"}, {"x5u": "http://evil.example"}])
def test_a_token_cannot_bring_its_own_key(auth: Auth, verifier: Verifier, headers: dict[str, Any]) -> None:
    key = Ed25519PrivateKey.generate()
    own = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    headers = {"jwk": own} if "jwk" in headers else headers
    assert refused(lambda: verifier.verify(sign(key, headers=headers))) == "UNAUTHORIZED"


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": []},
        {"key_ops": "verify"},
        {"alg": "ES256"},
        {"crv": "X25519"},
        {"crv": "Ed448"},
        {"kty": "EC"},
        {"kty": "RSA"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"x": "AAAA"},
        {"x": None},
        {"d": "c2VjcmV0"},
        {"kid": None},
    ],
)
def test_a_key_that_is_not_meant_for_this_is_passed_over(
    auth: Auth, verifier: Verifier, make_token: MakeToken, change: dict[str, Any]
) -> None:
    (key,) = auth.jwks["keys"]
    spoiled = {name: value for name, value in (key | change).items() if value is not None}
    auth.jwks = {"keys": [spoiled, key | {"kid": "good"}]}
    assert refused(lambda: verifier.verify(make_token())) == "UNAUTHORIZED"
    assert verifier.verify(make_token(headers={"kid": "good"}))


@pytest.mark.parametrize("members", [{}, {"use": "sig"}, {"alg": "EdDSA"}, {"key_ops": ["verify", "sign"]}])
def test_a_key_may_say_less(auth: Auth, verifier: Verifier, make_token: MakeToken, members: dict[str, Any]) -> None:
    (key,) = auth.jwks["keys"]
    auth.jwks = {"keys": [{name: key[name] for name in ("kty", "crv", "x", "kid")} | members]}
    assert verifier.verify(make_token())


@pytest.mark.parametrize("answer", [{}, [], None, "x", {"keys": None}, {"keys": []}, {"keys": [5]}, {"keys": 5}])
def test_an_answer_that_has_no_keys_is_an_outage(
    auth: Auth, verifier: Verifier, make_token: MakeToken, answer: Any
) -> None:
    auth.jwks = answer
    assert refused(lambda: verifier.verify(make_token())) == "SERVICE_UNAVAILABLE"


def test_a_token_expires(verifier: Verifier, make_token: MakeToken, frozen_clock: FrozenClock) -> None:
    fresh, old = (
        make_token(),
        make_token(
            iat=frozen_clock.moment.timestamp() - REMEMBERED,
            exp=frozen_clock.moment.timestamp() - LEEWAY,
        ),
    )
    assert refused(lambda: verifier.verify(old)) == "TOKEN_EXPIRED"
    verifier.verify(fresh)
    frozen_clock.advance(seconds=LIFETIME + LEEWAY - 2)
    verifier.verify(fresh)
    frozen_clock.advance(seconds=2)
    assert refused(lambda: verifier.verify(fresh)) == "TOKEN_EXPIRED"


def test_a_clock_that_is_a_little_behind_takes_a_fresh_token(
    verifier: Verifier, make_token: MakeToken, frozen_clock: FrozenClock
) -> None:
    ahead = frozen_clock.moment.timestamp() + LEEWAY
    assert verifier.verify(make_token(iat=ahead, nbf=ahead, exp=ahead + LIFETIME))


def test_the_log_says_that_clocks_differ(
    verifier: Verifier, make_token: MakeToken, frozen_clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    ahead = frozen_clock.moment.timestamp() + 600
    token = make_token(iat=ahead, exp=ahead + LIFETIME)
    for _ in range(3):
        assert refused(lambda: verifier.verify(token)) == "UNAUTHORIZED"
    assert [record.message for record in caplog.records] == [
        "tokens are refused that auth signed 600 s in the future: compare the clocks"
    ]
    frozen_clock.advance(seconds=600 - LEEWAY)
    assert verifier.verify(token)


def test_the_log_says_that_our_clock_is_far_ahead(
    auth: Auth, make_token: MakeToken, frozen_clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Auth issued both tokens an hour ago by our clock; by its own, one is fresh and one is a day old."""
    verifier = Verifier(KeySet(auth.fetch), seconds_ahead=lambda: 3600.0)
    issued = frozen_clock.moment.timestamp() - 3600
    fresh = make_token(iat=issued, exp=issued + LIFETIME)
    old = make_token(iat=issued - 86400, exp=issued - 86400 + LIFETIME)
    assert refused(lambda: verifier.verify(old)) == "TOKEN_EXPIRED"
    assert caplog.records == []
    for _ in range(3):
        assert refused(lambda: verifier.verify(fresh)) == "TOKEN_EXPIRED"
    assert [record.getMessage() for record in caplog.records] == [
        "tokens are refused as expired, but not by auth's clock, which is 3600 s behind: compare the clocks"
    ]


def test_an_ended_session_stays_ended_where_the_clock_is_behind(
    verifier: Verifier, make_token: MakeToken, frozen_clock: FrozenClock
) -> None:
    """Auth is as far ahead as may be: its token is good here for its lifetime and twice the leeway."""
    ahead = frozen_clock.moment.timestamp() + LEEWAY
    session_id = new_id()
    token = make_token(sid=session_id, iat=ahead, exp=int(ahead) + LIFETIME)
    verifier.revocations.end_session(session_id, frozen_clock.moment.timestamp())
    for _ in range(LIFETIME + 2 * LEEWAY - 1):
        frozen_clock.advance(seconds=1)
        verifier.revocations.end_session("another", frozen_clock.moment.timestamp())
        assert refused(lambda: verifier.verify(token)) == "TOKEN_REVOKED"
    frozen_clock.advance(seconds=2)
    assert refused(lambda: verifier.verify(token)) == "TOKEN_EXPIRED"


def test_remembers_a_bounded_number_of_tokens(
    auth: Auth, make_token: MakeToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    decode = jwt.decode

    def count(token: str, *args: Any, **kwargs: Any) -> Any:
        checked.append(token)
        return decode(token, *args, **kwargs)

    monkeypatch.setattr(jwt, "decode", count)
    verifier = Verifier(KeySet(auth.fetch), capacity=3)
    first, second, third, fourth = (make_token() for _ in range(4))
    for token in (first, second, third, first, fourth, first, second):
        verifier.verify(token)
    assert checked == [first, second, third, fourth, second], "the least recently used one is forgotten"
    assert len(verifier._verified) == 3


def test_a_refused_token_is_not_remembered(verifier: Verifier, make_token: MakeToken) -> None:
    for _ in range(5):
        refused(lambda: verifier.verify(make_token(role="root")))
    assert len(verifier._verified) == 0


def test_a_revoked_session_ends_at_once_and_is_forgotten_with_its_tokens(
    verifier: Verifier, make_token: MakeToken, frozen_clock: FrozenClock
) -> None:
    session_id = new_id()
    token, other = make_token(sid=session_id), make_token(sid=new_id())
    verifier.verify(token)
    now = frozen_clock.moment.timestamp()
    verifier.revocations.end_session(session_id, now)
    assert refused(lambda: verifier.verify(token)) == "TOKEN_REVOKED"
    assert verifier.verify(other)
    verifier.revocations.end_session("s3", now + REMEMBERED - 1)
    assert refused(lambda: verifier.verify(token)) == "TOKEN_REVOKED"
    verifier.revocations.end_session("s4", now + REMEMBERED)
    assert set(verifier.revocations._ended) == {"s3", "s4"}


def test_ending_the_tokens_of_a_user_leaves_later_ones(
    verifier: Verifier, make_token: MakeToken, frozen_clock: FrozenClock
) -> None:
    user_id = new_id()
    before = make_token(user_id)
    frozen_clock.advance(seconds=0.2)
    now = frozen_clock.moment.timestamp()
    verifier.revocations.end_tokens_before(user_id, now, now)
    frozen_clock.advance(seconds=0.2)
    after, other = make_token(user_id), make_token()
    assert refused(lambda: verifier.verify(before)) == "TOKEN_REVOKED"
    assert verifier.verify(after)
    assert verifier.verify(other)


def test_an_older_event_never_revives_a_token() -> None:
    revocations = Revocations()
    claims = Claims("u", "", "", "user", "s", "t", 50.0, 100)
    revocations.end_tokens_before("u", 60, 60)
    revocations.end_tokens_before("u", 40, 61)
    assert revocations.covers(claims)


def test_many_revocations_cost_little_and_are_forgotten() -> None:
    revocations = Revocations()
    for number in range(20_000):
        revocations.end_session(str(number), number)
        revocations.end_tokens_before(str(number), number, number)
    assert len(revocations._ended) == len(revocations._before) == REMEMBERED


@pytest.mark.parametrize(
    "role, suffices",
    [("user", ["user"]), ("moderator", ["user", "moderator"]), ("admin", ["user", "moderator", "admin"])],
)
def test_higher_roles_include_lower_ones(role: str, suffices: list[str]) -> None:
    claims = Claims("u", "", "", role, "s", "t", 0, 0)
    assert [wanted for wanted in ROLES if claims.has_role(wanted)] == suffices


def test_an_unknown_key_id_is_asked_for_once_in_a_pause(auth: Auth, make_token: MakeToken) -> None:
    verifier = Verifier(KeySet(auth.fetch, pause=60))
    verifier.verify(make_token())
    assert auth.asked == 1
    verifier = Verifier(KeySet(auth.fetch, pause=60))

    def try_unknown(index: int) -> str:
        return refused(lambda: verifier.verify(make_token(headers={"kid": f"unknown {index}"})))

    assert in_threads(50, try_unknown) == ["UNAUTHORIZED"] * 50
    assert auth.asked == 2
    assert verifier.verify(make_token())


def test_a_new_key_is_found_after_the_pause(auth: Auth, make_token: MakeToken) -> None:
    verifier = Verifier(KeySet(auth.fetch, pause=0.05))
    verifier.verify(make_token())
    auth.jwks = {"keys": [*auth.jwks["keys"], auth.jwks["keys"][0] | {"kid": "new"}]}
    time.sleep(0.05)
    assert verifier.verify(make_token(headers={"kid": "new"}))
    assert verifier.verify(make_token())


def test_known_keys_go_on_working_while_auth_is_away_and_unknown_ones_are_503(
    auth: Auth, make_token: MakeToken
) -> None:
    verifier = Verifier(KeySet(auth.fetch, pause=0, retry=60))
    verifier.verify(make_token())
    auth.away = True

    def check(index: int) -> str:
        assert verifier.verify(make_token())
        return refused(lambda: verifier.verify(make_token(headers={"kid": f"unknown {index}"})))

    assert in_threads(20, check) == ["SERVICE_UNAVAILABLE"] * 20
    assert auth.asked == 2, "an outage is not made worse by asking for every request"


def test_a_service_that_starts_without_auth_works_once_auth_is_there(auth: Auth, make_token: MakeToken) -> None:
    verifier = Verifier(KeySet(auth.fetch, retry=0.02))
    auth.away = True
    assert refused(lambda: verifier.verify(make_token())) == "SERVICE_UNAVAILABLE"
    auth.away = False
    assert refused(lambda: verifier.verify(make_token())) == "SERVICE_UNAVAILABLE"
    time.sleep(0.03)
    assert verifier.verify(make_token())


def test_a_token_that_is_none_of_ours_makes_nobody_ask_for_keys(auth: Auth, verifier: Verifier) -> None:
    for token in (sign("x" * 64, "HS256"), sign(Ed25519PrivateKey.generate(), headers={"typ": "JWT"}), "x.y.z"):
        refused(lambda token=token: verifier.verify(token))  # type: ignore[misc]
    assert auth.asked == 0


def test_threads_with_known_keys_never_wait_for_a_slow_auth(auth: Auth, make_token: MakeToken) -> None:
    asked, answered = threading.Event(), threading.Event()

    def fetch() -> Jwks:
        if auth.asked:
            asked.set()
            answered.wait(10)
        return auth.fetch()

    verifier = Verifier(KeySet(fetch, pause=0))
    verifier.verify(make_token())
    slow = threading.Thread(target=lambda: refused(lambda: verifier.verify(make_token(headers={"kid": "unknown"}))))
    slow.start()
    assert asked.wait(5)
    assert verifier.verify(make_token())
    answered.set()
    slow.join()


def test_a_key_that_has_retired_is_forgotten_without_making_anybody_wait(auth: Auth, make_token: MakeToken) -> None:
    verifier = Verifier(KeySet(auth.fetch, max_age=0.05))
    retired = auth.jwks["keys"]
    verifier.verify(make_token())
    auth.jwks = {"keys": [retired[0] | {"kid": "new"}]}
    verifier.verify(make_token())
    assert auth.asked == 1
    time.sleep(0.05)
    verifier.verify(make_token())
    for _ in range(100):
        if auth.asked == 2:
            break
        time.sleep(0.01)
    time.sleep(0.01)
    assert refused(lambda: verifier.verify(make_token())) == "UNAUTHORIZED"


def test_keys_that_are_old_stay_in_use_while_auth_is_away(auth: Auth, make_token: MakeToken) -> None:
    verifier = Verifier(KeySet(auth.fetch, retry=0.01, max_age=0.01))
    verifier.verify(make_token())
    auth.away = True
    for _ in range(10):
        assert verifier.verify(make_token())
        time.sleep(0.01)
    assert auth.asked > 1
