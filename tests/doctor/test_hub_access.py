"""The hub: not asked where it is not to be, and the reason where it does not answer."""

from clipknight.doctor.hub_access import hub

from huggingface_hub import constants


def test_offline_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("clipknight.doctor.hub_access.why_unreachable", None)  # would fail if it were called
    finding = hub()
    assert finding.state == "ok" and "is not asked" in finding.value


def test_without_a_network_the_reason_is_named(no_internet):
    finding = hub()
    assert finding.state == "missing" and finding.value.endswith("cannot be reached: network is unreachable")
    assert "HTTPS_PROXY" in finding.remedy


def test_a_proxy_is_named_without_its_password(no_internet, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.example")
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy.example:3128")
    monkeypatch.setattr("clipknight.doctor.hub_access.why_unreachable", lambda: "the proxy answers 503")
    assert hub().value == f"{constants.ENDPOINT} cannot be reached through proxy.example: the proxy answers 503"
