"""Where a gateway may be: https everywhere, plain http on this machine alone."""

import pytest

from refold.engine.errors import InvalidSetting
from refold.engine.transport import endpoint
from refold.engine.transport.endpoint import Endpoint, is_loopback


@pytest.mark.parametrize(
    "url",
    [
        "https://api.gateway.example",
        "https://api.gateway.example/",
        "https://api.gateway.example:8443/v1",
        "https://api.gateway.example/a%20b",
        "HTTPS://API.GATEWAY.EXAMPLE",
        "https://10.0.0.1",
        "https://[2001:db8::1]",
        "http://localhost",
        "http://LOCALHOST:8080",
        "http://127.0.0.1:8080",
        "http://127.8.9.10",
        "http://[::1]:8080",
    ],
)
def test_a_base_url_is_taken(url):
    assert Endpoint(base_url=url).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.gateway.example",
        "//api.gateway.example",
        "ftp://api.gateway.example",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://:443",
        "https://api.gateway.example:99999",
        "https://api.gateway.example:port",
        "https://[::1",
        "http://api.gateway.example",
        "http://localhost.evil.example",
        "http://localhost.",
        "http://127.0.0.1.evil.example",
        "http://127.1",
        "http://2130706433",
        "http://0x7f.0.0.1",
        "http://0177.0.0.1",
        "http://0.0.0.0",
        "http://[::]",
        "http://10.0.0.1",
        "http://169.254.169.254",
        "http://[fe80::1]",
        "http://[::ffff:10.0.0.1]",
        "http://localhost@evil.example",
        "http://evil.example\\@localhost",
        "http://localhost\\.evil.example",
        "http://localhost#.evil.example",
        "https://me@api.gateway.example",
        "https://me:password@api.gateway.example",
        "https://@api.gateway.example",
        "https://api.gateway.example?a=b",
        "https://api.gateway.example/?",
        "https://api.gateway.example/v1?a=b",
        "https://api.gateway.example/v1#a",
        "https://api.gateway.example/#",
        "https://gätew.example",
        "https://ⅼocalhost",
        "http://ⓛocalhost",
        "https://api.gateway.example/é",
        "https://api.gateway.example/a b",
        " https://api.gateway.example",
        "https://api.gateway.example\n",
        "https://api.gateway\t.example",
        "https://api.gateway.example/\x7f",
    ],
)
def test_a_base_url_is_refused(url):
    with pytest.raises(InvalidSetting, match="base_url"):
        Endpoint(base_url=url)


@pytest.mark.parametrize("name", ["notify_url", "proxy"])
@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://me:password@proxy.example:3128", True),
        ("http://proxy.example:3128", True),
        ("socks5://proxy.example", False),
        ("proxy.example:3128", False),
        ("http://proxy.example/?a", False),
        ("http://prøxy.example", False),
    ],
)
def test_proxies_and_webhooks_may_be_plain_http(name, url, taken):
    if taken:
        assert getattr(Endpoint(base_url="https://g.example", **{name: url}), name) == url
    else:
        with pytest.raises(InvalidSetting, match=name):
            Endpoint(base_url="https://g.example", **{name: url})


def test_no_password_is_shown():
    shown = Endpoint(base_url="https://g.example", proxy="http://me:canary@proxy.example")
    for text in (repr(shown), str(shown), f"{shown}"):
        assert "canary" not in text
    assert "****" in repr(shown)


@pytest.mark.parametrize("field", ["base_url", "proxy", "notify_url"])
def test_an_error_quotes_no_password(field):
    fields = {"base_url": "https://g.example"} | {field: "http://me:canary@proxy.example:99999"}
    with pytest.raises(InvalidSetting) as caught:
        Endpoint(**fields)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_connection_is_waited_for_a_second_at_least(seconds):
    with pytest.raises(InvalidSetting, match="connect_timeout_s"):
        Endpoint(base_url="https://g.example", connect_timeout_s=seconds)


def test_a_looser_idea_of_this_machine_is_seen(monkeypatch):
    """A planted fault: what merely starts with localhost is not this machine."""
    assert not is_loopback("localhost.evil.example")
    monkeypatch.setattr(endpoint, "is_loopback", lambda host: host.startswith("localhost"))
    assert Endpoint(base_url="http://localhost.evil.example")
