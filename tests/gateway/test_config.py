import secrets
from ipaddress import ip_network

import pytest

from services.gateway.config import Config
from shared.settings import SettingsError

SECRET = secrets.token_hex(32)


def test_the_defaults_are_those_of_development(tmp_path: object) -> None:
    config = Config.load({"DATA_DIR": str(tmp_path)})
    assert (config.gateway_port, config.workers, config.ratelimit_enabled) == (8000, 1, True)
    assert config.upstreams == {
        "auth": "http://127.0.0.1:8001",
        "posts": "http://127.0.0.1:8002",
        "uploads": "http://127.0.0.1:8003",
        "messages": "http://127.0.0.1:8004",
    }
    assert config.cors_origins == ("http://localhost:3000", "http://127.0.0.1:3000")
    assert config.trusted_proxies == ()


def test_upstreams_follow_the_ports(tmp_path: object) -> None:
    ports = {"AUTH_PORT": "9001", "POSTS_PORT": "9002", "UPLOADS_PORT": "9003", "MESSAGES_PORT": "9004"}
    config = Config.load({"DATA_DIR": str(tmp_path), "UPLOADS_URL": "http://uploads:80/"} | ports)
    assert config.upstreams == {
        "auth": "http://127.0.0.1:9001",
        "posts": "http://127.0.0.1:9002",
        "uploads": "http://uploads:80",
        "messages": "http://127.0.0.1:9004",
    }


def test_lists_are_read(tmp_path: object) -> None:
    lists = {"CORS_ORIGINS": "https://a.example, https://b.example:8443/", "TRUSTED_PROXIES": "10.0.0.0/8,fd00::/8"}
    config = Config.load({"DATA_DIR": str(tmp_path)} | lists)
    assert config.cors_origins == ("https://a.example", "https://b.example:8443")
    assert config.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    "environ, name",
    [
        ({"CORS_ORIGINS": "*"}, "CORS_ORIGINS"),
        ({"CORS_ORIGINS": "https://u@a.example"}, "CORS_ORIGINS"),
        ({"CORS_ORIGINS": "a.example"}, "CORS_ORIGINS"),
        ({"TRUSTED_PROXIES": "10.0.0.1/8"}, "TRUSTED_PROXIES"),
        ({"TRUSTED_PROXIES": "proxy.example"}, "TRUSTED_PROXIES"),
        ({"POSTS_URL": "https://posts"}, "POSTS_URL"),
        ({"POSTS_URL": "http://posts/v1"}, "POSTS_URL"),
        ({"AUTH_URL": "auth:8001"}, "AUTH_URL"),
        ({"AUTH_URL": "http://auth:port"}, "AUTH_URL"),
        ({"GATEWAY_WORKERS": "2"}, "GATEWAY_WORKERS"),
        ({"GATEWAY_WORKERS": "0"}, "GATEWAY_WORKERS"),
        ({"GATEWAY_PORT": "70000"}, "GATEWAY_PORT"),
        ({"RATELIMIT_ENABLED": "no"}, "RATELIMIT_ENABLED"),
        *(
            ({"PROXY_ALLOWED_HOSTS": f"api.github.com,{host}"}, "PROXY_ALLOWED_HOSTS")
            for host in (
                "localhost",
                "127.0.0.1",
                "0x7f.1",
                "[::1]",
                "API.example.org",
                "a.example:443",
                "a.example.",
                "*.a.example",
                "https://a.example",
                "a..example",
                "-a.example",
                "a_b.example",
                "bücher.example",
                "u@a.example",
                "a.example/x",
            )
        ),
        ({"APP_ENV": "production", "INTERNAL_TOKEN": SECRET, "RATELIMIT_ENABLED": "false"}, "RATELIMIT_ENABLED"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], name: str, tmp_path: object) -> None:
    with pytest.raises(SettingsError) as caught:
        Config.load({"DATA_DIR": str(tmp_path)} | environ)
    assert [mistake.split()[0] for mistake in caught.value.mistakes] == [name]


def test_several_workers_need_redis(tmp_path: object) -> None:
    redis = {"GATEWAY_WORKERS": "2", "REDIS_URL": "redis://127.0.0.1:6379"}
    assert Config.load({"DATA_DIR": str(tmp_path)} | redis).workers == 2


def test_outside_hosts_are_names(tmp_path: object) -> None:
    hosts = {"PROXY_ALLOWED_HOSTS": "a.example, xn--bcher-kva.example"}
    config = Config.load({"DATA_DIR": str(tmp_path)} | hosts)
    assert config.proxy_allowed_hosts == ("a.example", "xn--bcher-kva.example")


def test_production_trusts_no_origin_by_itself(tmp_path: object) -> None:
    config = Config.load({"DATA_DIR": str(tmp_path), "APP_ENV": "production", "INTERNAL_TOKEN": SECRET})
    assert config.cors_origins == ()
