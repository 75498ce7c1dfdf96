from services.gateway.http import headers
from shared import client_address
from shared.server import head_parser

LONG = "x" * 16_000


def test_long_texts_of_clients_are_not_kept() -> None:
    functions = (client_address.parse, client_address.parse_hop, head_parser._key, headers.wire_name)
    before = [function.cache_info().currsize for function in functions]
    assert client_address.parse(LONG) is None
    assert client_address.parse_hop(f" {LONG}") is None
    assert head_parser._key(LONG) == f"HTTP_{LONG.upper()}"
    assert headers.wire_name(f"HTTP_{LONG.upper()}") == LONG
    assert [function.cache_info().currsize for function in functions] == before
