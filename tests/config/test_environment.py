"""The environment over the file, and references inside it."""

import pytest
from tests.config.documents import BASE, changed, load_text, said

from fastgate.config.problems import Level


def test_variable_wins_over_the_file(tmp_path):
    """`FASTGATE_A__B` sets a.b, with numbers, flags and units spelled as text."""
    config = load_text(
        tmp_path,
        BASE,
        {
            "FASTGATE_REGIONS__DEFAULT": "us",
            "FASTGATE_WORKERS": "3",
            "FASTGATE_DEBUG": "true",
            "FASTGATE_LIMITS__TOKEN": "4KiB",
            "FASTGATE_LOG__SAMPLE": "0.5",
            "FASTGATE_ADMIN": "unix:/run/a.sock",
        },
    ).require()
    assert config.regions.default == "us"
    assert (config.workers, config.debug, config.limits.token) == (3, True, 4096)
    assert config.log.sample == 0.5
    assert config.admin.path == "/run/a.sock"


def test_list_of_the_environment_replaces_the_files(tmp_path):
    """Lists are given whole and never joined."""
    config = load_text(
        tmp_path, BASE, {"FASTGATE_REGIONS__NAMES": "[us, eu, ap]"}
    ).require()
    assert config.regions.names == ("us", "eu", "ap")


def test_alias_with_a_hyphen_is_reached_by_an_underscore(tmp_path):
    """A variable's name holds no hyphen, so both are the same there."""
    text = changed("  login:", "  log-in:", "issuer: login}", "issuer: log-in}")
    environ = {"FASTGATE_ISSUERS__LOG_IN__LEEWAY": "9s"}
    config = load_text(tmp_path, text, environ).require()
    assert config.issuers["log-in"].leeway.total_seconds() == 9


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (
            "FASTGATE_REGIONS__DEFALT",
            "us",
            'regions.defalt: unknown key; did you mean "',
        ),
        ("FASTGATE_BOGUS", "1", "bogus: unknown key"),
        ("FASTGATE_REGIONS__DEFAULT", "mars", 'regions.default: "mars" is not one of'),
        ("FASTGATE_REGIONS__NAMES", "eu,us", "regions.names: is no list"),
        ("FASTGATE_REGIONS__NAMES", "[eu", "regions.names: is no YAML"),
        ("FASTGATE_REGIONS__NAMES", "[eu, !!str us]", "regions.names: has a tag"),
        ("FASTGATE_ROUTES__0__PATH", "/a", "routes: is no mapping; give it as a whole"),
        ("FASTGATE_", "1", "names no setting"),
        ("FASTGATE_REGIONS____DEFAULT", "us", "names no setting"),
        (
            "FASTGATE_ADMIN_TOKEN_FILE",
            "/nonexistent",
            "admin_token: /nonexistent: No such",
        ),
        ("FASTGATE_ADMIN_TOKEN_FILE", "/", "admin_token: /: Is a directory"),
        ("FASTGATE_ADMIN_TOKEN_FILE", "/dev/zero", "is no regular file"),
        ("FASTGATE_WORKERS", "", 'workers: is neither "auto" nor a whole number'),
        ("FASTGATE_DEBUG", "yes", "debug: is neither true nor false"),
    ],
)
def test_problem_of_a_variable_is_placed_at_its_name(tmp_path, name, value, problem):
    """`env:NAME` takes the place of file, line and column."""
    loaded = load_text(tmp_path, BASE, {name: value})
    assert len(said(loaded)) == 1
    assert said(loaded)[0].startswith(f"env:{name} ")
    assert problem in said(loaded)[0]


def test_foreign_variables_are_left_alone(tmp_path):
    """Kubernetes sets FASTGATE_PORT beside a Service called fastgate."""
    environ = {
        "FASTGATE_PORT": "tcp://10.0.0.1:80",
        "FASTGATE_SERVICE_HOST": "10.0.0.1",
        "FASTGATE_SERVICE_PORT_HTTP": "80",
        "FASTGATE_PORT_8080_TCP_ADDR": "10.0.0.1",
        "FASTGATE_CONFIG": "elsewhere",
        "FASTGATE_VECTORS": "x",
        "FASTGATE_BUSES_REQUIRED": "1",
        "HOME": "/",
    }
    assert (
        load_text(tmp_path, BASE, environ).problems
        == load_text(tmp_path, BASE).problems
    )


def test_value_of_a_variable_is_not_interpolated(tmp_path):
    """A generated password may hold any character."""
    token = "pa$word-${HOME}-{x}"
    loaded = load_text(tmp_path, BASE, {"FASTGATE_ADMIN_TOKEN": token})
    secret = loaded.require().admin_token
    assert secret is not None
    assert secret.reveal() == token


def test_secret_file_loses_its_last_line_end_only(tmp_path):
    """Editors end files with a line end that is no part of the secret."""
    (tmp_path / "token").write_text("0123456789abcdef \r\n")
    environ = {"FASTGATE_ADMIN_TOKEN_FILE": str(tmp_path / "token")}
    secret = load_text(tmp_path, BASE, environ).require().admin_token
    assert secret is not None
    assert secret.reveal() == "0123456789abcdef "


def test_setting_given_twice_by_the_environment_is_an_error(tmp_path):
    """Which of the two would win is nobody's guess."""
    environ = {"FASTGATE_ADMIN_TOKEN": "a" * 16, "FASTGATE_ADMIN_TOKEN_FILE": "/x"}
    loaded = load_text(tmp_path, BASE, environ)
    assert "are both set" in said(loaded)[0]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${A}", "one"),
        ("x-${A}-${A}", "x-one-one"),
        ("$$", "$"),
        ("a$${A}", "a${A}"),
        ("${B}", "${A}"),
        ("${file:secret}", "from file"),
    ],
)
def test_reference_is_replaced_once(tmp_path, written, value):
    """What a reference brings in is not looked at again."""
    (tmp_path / "secret").write_text("from file\n")
    text = changed("audience: [api]", f"audience: ['{written}']")
    environ = {"A": "one", "B": "${A}"}
    config = load_text(tmp_path, text, environ).require()
    assert config.issuers["login"].audience == (value,)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("${NOPE}", "${NOPE} is not set"),
        ("${file:nope}", "nope: No such file"),
        ("a$b", "write $$"),
        ("${}", "write $$"),
        ("${A", "write $$"),
        ("${a-b}", "write $$"),
    ],
)
def test_bad_reference_is_an_error_at_its_place(tmp_path, written, problem):
    """Nothing is left in place by mistake, nor replaced by nothing."""
    text = changed("audience: [api]", f"audience: ['{written}']")
    loaded = load_text(tmp_path, text)
    assert len(said(loaded)) == 1
    assert said(loaded)[0].startswith("9:16 issuers.login.audience[0]: ")
    assert problem in said(loaded)[0]


@pytest.mark.parametrize("reference", ["${file:nope}", "${NOPE}", "${file:empty}"])
@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("admin_token: X", "admin_token"),
        ("revocation: {hash_key: X}", "revocation.hash_key"),
        ("    ssf: {audience: [a], authorization: X}", "ssf.authorization"),
        ("    global_revocation: {token: X}", "global_revocation.token"),
        (
            "    introspection: {url: 'https://a.b', client_id: gw, client_secret: X}",
            "introspection.client_secret",
        ),
    ],
    ids=["admin", "hash_key", "ssf", "global_revocation", "introspection"],
)
def test_cve_2026_54762_secret_that_is_not_found_is_no_absent_check(
    tmp_path, line, path, reference
):
    """No configuration comes of it; least of all one that asks for no secret."""
    (tmp_path / "empty").write_text("\n")
    written = line.replace("X", f"'{reference}'")
    text = f"{BASE}{written}\n"
    if line.startswith(" "):
        audience = "    audience: [api]\n"
        text = changed(audience, f"{audience}{written}\n")
    loaded = load_text(tmp_path, text)
    assert loaded.config is None
    assert [problem for problem in said(loaded) if path in problem]


def test_number_may_come_from_a_reference(tmp_path):
    """`${VAR}` stands for a number or flag where the model wants one."""
    config = load_text(tmp_path, BASE + "workers: ${N}\n", {"N": "7"}).require()
    assert config.workers == 7


def test_file_that_the_environment_overrides_need_not_be_there(tmp_path):
    """A reference under a variable is not resolved at all."""
    text = BASE + "admin_token: ${file:/nonexistent}\n"
    loaded = load_text(tmp_path, text, {"FASTGATE_ADMIN_TOKEN": "a" * 16})
    assert said(loaded) == []
    assert said(loaded, Level.WARN) == []


def test_secret_that_is_no_text_is_not_repeated(tmp_path):
    """Neither the bytes nor a decoder's message with them reach an output."""
    (tmp_path / "token").write_bytes(b"hunter2\xff")
    loaded = load_text(tmp_path, BASE + "admin_token: ${file:token}\n")
    assert "is no UTF-8 text" in said(loaded)[0]
    assert "hunter2" not in repr(loaded)
