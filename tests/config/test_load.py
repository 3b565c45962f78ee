"""Loading: file, environment and secrets, with every problem at its place."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.config.documents import BASE, EXAMPLE, changed, example, load_text, said

from fastgate.config.load import DEFAULT_PATHS, find, load
from fastgate.config.model import Config
from fastgate.config.problems import Level
from fastgate.errors import ConfigError


def test_example_of_the_public_contract_works_as_written(tmp_path):
    """Outside tools are built on this text: no error, and every value arrives."""
    loaded = load_text(tmp_path, example(tmp_path))
    assert loaded.errors == ()
    config = loaded.require()
    assert str(config.listen) == "0.0.0.0:8080"
    assert config.workers is None
    assert config.regions.names == ("eu", "us", "ap")
    assert config.regions.claims == ("region", "zone")
    login = config.issuers["login"]
    assert login.introspection is not None
    assert login.introspection.client_secret.reveal() == "s3cret"
    orders, identity, public = config.routes
    assert orders.token is not None
    assert orders.token.scope == ("orders",)
    assert identity.oauth
    assert public.token is None
    assert config.revocation.bus == "nats://127.0.0.1:4222"


def test_example_warns_of_missing_regions_and_key_and_states_the_bound(tmp_path):
    """A service may lack a region and a bus may lack a key, but not in silence."""
    loaded = load_text(tmp_path, example(tmp_path))
    assert [line.split(":")[1].split()[1] for line in said(loaded, Level.WARN)] == [
        "services.orders",
        "services.identity",
        "revocation.hash_key",
    ]
    assert any("bound 10s" in line for line in said(loaded, Level.INFO))


def test_every_problem_is_told_at_once_with_its_place(tmp_path):
    """Schema, meaning and environment come in one go, sorted by place."""
    text = (
        example(tmp_path)
        .replace("audience: [api]", "audiance: [api]")
        .replace("[ES256] ", "[HS256] ")
        .replace("default: eu ", "default: no ")
        .replace("on_stale: deny}", "on_stale: allow, allow_for: 5m}")
        .replace("issuer: login,", "issuer: logn,")
    )
    loaded = load_text(tmp_path, text, {"FASTGATE_WORKERS": "many"})
    assert loaded.config is None
    never = '"HS256" is never accepted; known: ES256, ES384, RS256, PS256, EdDSA'
    logn = '"logn" is not one of login; did you mean "login"?'
    assert said(loaded) == [
        '10:12 regions.default: "no" is not one of eu, us, ap',
        '18:5 issuers.login.audiance: unknown key; did you mean "audience"?',
        f"19:18 issuers.login.algorithms[0]: {never}",
        f"36:21 routes[0].token.issuer: {logn}",
        'env:FASTGATE_WORKERS workers: is neither "auto" nor a whole number',
    ]
    assert (
        '37:5 routes[0].freshness: on_stale "allow": bound 5m10s in place of 10s'
        in said(loaded, Level.WARN)
    )


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("region: eu\n", "", "1:1 region: is missing"),
        ("region: eu", "region: Eu", '1:9 region: "Eu" is no region name'),
        ("region: eu", "region:", "1:1 region: has no value"),
        ("region: eu", "region: 5", "1:9 region: is no text"),
        ("  default: eu", "  default: off", '4:12 regions.default: "off" is not one'),
        ("  names: [eu, us]", "  names: eu", "3:10 regions.names: is no list"),
        ("names: [eu, us]", "names: [eu, eu]", "3:15 regions.names[1]:"),
        ("routes:\n", "route:\n", 'route: unknown key; did you mean "routes"?'),
        ("{issuer: login}", "{}", "routes[0].token.issuer: is missing"),
        ("{issuer: login}", "non", 'routes[0].token: is neither "none" nor a mapping'),
        ("{issuer: login}", "", "routes[0].token: has no value"),
        ("path: /orders/", "path: orders", 'routes[0].path: "orders" is no canonical'),
        ("path: /orders/", "path: /a/../b", "routes[0].path:"),
        ("path: /orders/", "path: /%6f", 'did you mean "/o"?'),
        ("[api]", "[api, 7]", "issuers.login.audience[1]: is no text"),
        ("[http://10.0.1.5:9000]", "[]", "services.orders.eu: needs at least 1"),
        ("[http://10.0.1.5:9000]", "[10.0.1.5:9000]", "does not begin with http://"),
        ("    us: [", "    USA: [", 'services.orders.USA: "USA" is no region name'),
        ("    us: [", "    uz: [", 'services.orders.uz: "uz" is not one of eu, us'),
    ],
)
def test_problem_says_where_and_what(tmp_path, old, new, problem):
    """Each mistake has its line, column, path and a sentence."""
    loaded = load_text(tmp_path, changed(old, new))
    assert loaded.config is None
    assert any(problem in line for line in said(loaded)), said(loaded)


def test_refused_value_does_not_cause_guesses_elsewhere(tmp_path):
    """An issuer that is wrong itself is not also unknown to the routes."""
    loaded = load_text(
        tmp_path, changed("issuer: https://login.example.com", "issuer: 5")
    )
    assert said(loaded) == ["7:13 issuers.login.issuer: is no text; put it in quotes"]


def test_wrong_route_leaves_the_others_at_their_place(tmp_path):
    """What is salvaged around a refused route is still told by its own number."""
    text = BASE + "  - path: 7\n    service: orders\n  - path: /b\n    service: nope\n"
    loaded = load_text(tmp_path, text)
    assert "routes[2].service:" in " ".join(said(loaded))
    assert "routes[1].path: is no text" in " ".join(said(loaded))


def test_several_faults_of_syntax_are_told_together(tmp_path):
    """Duplicate keys and tags do not hide what else is wrong."""
    loaded = load_text(tmp_path, BASE + "region: us\nbogus: !!str x\n")
    assert [line.split()[0] for line in said(loaded)] == ["18:1", "19:1", "19:8"]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "is empty"),
        (b"- a\n", "is no mapping"),
        (b"a: [\n", "is no YAML"),
        (b"a: \xff\n", "is no UTF-8 text"),
        (b"# " + b"x" * (1 << 20), "holds more than"),
    ],
)
def test_unreadable_file_is_one_problem(tmp_path, raw, problem):
    """A file that cannot be read at all says why, and nothing is raised."""
    path = tmp_path / "bad.yaml"
    path.write_bytes(raw)
    loaded = load(path, {})
    assert len(loaded.problems) == 1
    assert problem in loaded.problems[0].message


def test_absent_file_and_folder_are_problems(tmp_path):
    """The file that was looked for is named."""
    for path in (tmp_path / "absent.yaml", tmp_path):
        loaded = load(path, {})
        assert loaded.problems[0].file == str(path)
        assert loaded.config is None


def test_require_raises_with_every_error(tmp_path):
    """A start or reload gets one exception that lists all places."""
    loaded = load_text(tmp_path, changed("region: eu", "region: xx\nbogus: 1"))
    with pytest.raises(ConfigError, match=r"(?s)region: \"xx\".*bogus: unknown key"):
        loaded.require()


def test_file_is_found_by_argument_then_variable_then_place(tmp_path, monkeypatch):
    """An explicit name wins; without any, the folder and then /etc are tried."""
    monkeypatch.chdir(tmp_path)
    assert find(None, {}) == DEFAULT_PATHS[-1]
    (tmp_path / "fastgate.yaml").write_text(BASE)
    assert find(None, {}) == "fastgate.yaml"
    assert find(None, {"FASTGATE_CONFIG": "b.yaml"}) == "b.yaml"
    assert find("a.yaml", {"FASTGATE_CONFIG": "b.yaml"}) == "a.yaml"


def test_document_carries_everything_to_another_process(tmp_path):
    """What a worker reads equals what the agent checked, secrets included."""
    config = load_text(tmp_path, example(tmp_path)).require()
    copy = Config.from_document(config.to_document())
    assert copy == config
    assert copy.digest() == config.digest()


def test_hash_changes_with_a_setting_but_not_with_a_comment(tmp_path):
    """Two nodes with one meaning show one hash; a rotated secret shows another."""
    first = load_text(tmp_path, example(tmp_path))
    commented = load_text(tmp_path, "# a comment\n" + example(tmp_path))
    assert commented.source_hash == first.source_hash
    text = example(tmp_path)
    (tmp_path / "introspection").write_text("other")
    assert load_text(tmp_path, text).source_hash != first.source_hash


def test_secret_in_the_file_is_a_warning(tmp_path):
    """A literal secret works and is told; one from a file or variable is not."""
    literal = load_text(tmp_path, BASE + "admin_token: 0123456789abcdef\n")
    assert "18:14 admin_token: is written into the file" in said(literal, Level.WARN)[0]
    assert literal.config is not None
    environ = {"TOKEN": "0123456789abcdef"}
    referred = load_text(tmp_path, BASE + "admin_token: ${TOKEN}\n", environ)
    assert said(referred, Level.WARN) == []


def test_no_output_repeats_a_secret(tmp_path):
    """Problems, representations and dumps hold no secret, also when it is wrong."""
    text = BASE + (
        "admin_token: hunter2-a\nrevocation: {hash_key: hunter2-b, bus: nats://a}\n"
    )
    loaded = load_text(tmp_path, text)
    assert "hunter2" not in repr(loaded) + str(loaded.problems)
    good = load_text(
        tmp_path, text.replace("hunter2-b", "hunter2-0123456789")
    ).require()
    assert "hunter2" not in f"{good!r}{good}{good.model_dump()}{good.model_dump_json()}"


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_text_raises(tmp_path, data):
    """Whatever stands in the file, loading answers with problems that have a place."""
    lines = EXAMPLE.read_text("utf-8").splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        old = lines[at]
        cut = data.draw(st.integers(0, len(old)))
        filler = data.draw(
            st.sampled_from(
                [
                    "",
                    " ",
                    ":",
                    "- ",
                    "[",
                    "}",
                    "&a",
                    "*a",
                    "null",
                    "5",
                    "'",
                    "!x ",
                    "\t",
                ]
            )
            | st.text(max_size=8)
        )
        lines[at] = old[:cut] + filler + old[cut + data.draw(st.integers(0, 3)) :]
    path = tmp_path / "fuzz.yaml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    loaded = load(path, {})
    assert (loaded.config is None) == bool(loaded.errors)
    for problem in loaded.problems:
        assert problem.line >= 1
        assert problem.col >= 1
        assert problem.message


def test_file_may_be_a_pipe(tmp_path):
    """`<(…)` of a shell is a pipe; its content counts like a file's."""
    read_end, write_end = os.pipe()
    os.write(write_end, BASE.encode())
    os.close(write_end)
    try:
        assert load(f"/dev/fd/{read_end}", {}).config is not None
    finally:
        os.close(read_end)
