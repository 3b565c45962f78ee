"""What of the configuration the feed is given, at the start and at each reload."""

from tests.config.documents import changed, load_text

from fastgate.wiring.agent import _feed_settings

LIVES = "revocation: {max_token_lifetime: 2h, max_session_lifetime: 8h}\n"
LOGIN = "    issuer: https://login.example.com\n"


def test_feed_settings_follow_lives_leeways_and_homes(tmp_path):
    """The gate accepts by the same ones, so entries must live as long."""
    text = changed(LOGIN, f"{LOGIN}    leeway: 30s\n    home: us\n")
    loaded = load_text(tmp_path, text + LIVES)
    assert loaded.config is not None, loaded.problems
    settings = _feed_settings(loaded.config)
    lives = settings.lifetimes
    assert (lives.max_token_s, lives.max_session_s, lives.leeway_s) == (
        7_200,
        28_800,
        30,
    )
    assert settings.issuer_homes == {"https://login.example.com": "us"}
    assert settings.default_origin == "eu"
