"""Settings: which source wins, what is refused and how, what is never shown."""

import stat
from pathlib import Path

import msgspec
import pytest

from server.settings import (
    JWT_SECRET_FILE,
    Settings,
    SettingsError,
    ensure_jwt_secret,
    load,
    masked,
    variable_of,
)

# The settings that outside tools rely on, by variable, with their defaults (SPEC section 14).
CONTRACT: dict[str, object] = {
    "DATABASE_URL": None,
    "CARDROOM_DATA_DIR": Path("data"),
    "CARDROOM_HOST": "127.0.0.1",
    "CARDROOM_HTTP_PORT": 8000,
    "CARDROOM_WS_PORT": 8001,
    "CARDROOM_JWT_SECRET": None,
    "CARDROOM_JWKS_URL": None,
    "CARDROOM_HAND_INTERVAL_S": 3,
    "CARDROOM_IDLE_SOCKET_S": 45,
    "CARDROOM_DISCONNECT_AFTER_S": 300,
    "CARDROOM_FREE_SEAT_AFTER_S": 600,
    "CARDROOM_SPECTATOR_DROP_AFTER_S": 300,
    "CARDROOM_SEAT_OFFER_S": 60,
    "CARDROOM_REJECT_COOLDOWN_S": 60,
    "CARDROOM_STARTING_BALANCE": 10_000,
    "CARDROOM_NODE_LEASE_S": 10,
    "CARDROOM_DB_CONNECTIONS": 8,
    "CARDROOM_DB_TIMEOUT_S": 2,
    "CARDROOM_ONESIGNAL_APP_ID": None,
    "CARDROOM_ONESIGNAL_API_KEY": None,
    "CARDROOM_ONESIGNAL_BASE_URL": "https://api.onesignal.com",
    "CARDROOM_PUSHER_APP_ID": None,
    "CARDROOM_PUSHER_KEY": None,
    "CARDROOM_PUSHER_SECRET": None,
    "CARDROOM_ENABLE_RIGGED_DECKS": False,
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, so that no `cardroom.toml` of the developer is read."""
    monkeypatch.chdir(tmp_path)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_those_of_the_contract() -> None:
    defaults = load({})
    names = {variable_of(field.name): field.name for field in msgspec.structs.fields(Settings)}
    for variable, value in CONTRACT.items():
        assert getattr(defaults, names[variable]) == value, variable


def test_environment_wins_over_file_wins_over_default(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", "http_port = 9000\nws_port = 9001\n")
    settings = load({"CARDROOM_HTTP_PORT": "9100"}, path)
    assert (settings.http_port, settings.ws_port, settings.db_connections) == (9100, 9001, 8)
    shown = masked(settings)
    assert shown["http_port"] == {"value": 9100, "origin": "CARDROOM_HTTP_PORT"}
    assert shown["ws_port"] == {"value": 9001, "origin": str(path)}
    assert shown["db_connections"] == {"value": 8, "origin": "default"}


def test_file_in_the_working_folder_is_found(tmp_path: Path) -> None:
    write(tmp_path / "cardroom.toml", "starting_balance = 5\n")
    assert load({}).starting_balance == 5


def test_variable_names_the_file_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "named.toml", "starting_balance = 6\n")
    assert load({"CARDROOM_CONFIG": str(path)}).starting_balance == 6
    with pytest.raises(SettingsError, match=r"gone\.toml"):
        load({"CARDROOM_CONFIG": str(tmp_path / "gone.toml")})


def test_an_empty_variable_is_unset() -> None:
    settings = load({"CARDROOM_JWKS_URL": "", "DATABASE_URL": " ", "CARDROOM_HTTP_PORT": ""})
    assert (settings.jwks_url, settings.database_url, settings.http_port) == (None, None, 8000)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("1", True), ("true", True), ("On", True), ("0", False), ("FALSE", False), ("no", False)],
)
def test_booleans_are_read_from_words(word: str, meant: bool) -> None:
    assert load({"CARDROOM_ENABLE_RIGGED_DECKS": word}).enable_rigged_decks is meant


def test_origins_are_a_list_with_commas_or_in_toml(tmp_path: Path) -> None:
    wanted = ("https://a.example", "https://b.example")
    assert load({"CARDROOM_ALLOWED_ORIGINS": ", ".join(wanted)}).allowed_origins == wanted
    path = write(tmp_path / "c.toml", f"allowed_origins = {list(wanted)}\n")
    assert load({}, path).allowed_origins == wanted


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CARDROOM_HTTP_PORT", "65536"),
        ("CARDROOM_HTTP_PORT", "http"),
        ("CARDROOM_HAND_INTERVAL_S", "-1"),
        ("CARDROOM_HAND_INTERVAL_S", "nan"),
        ("CARDROOM_FREE_SEAT_AFTER_S", "inf"),
        ("CARDROOM_DB_CONNECTIONS", "0"),
        ("CARDROOM_JWT_ALGORITHM", "none"),
        ("CARDROOM_ENABLE_RIGGED_DECKS", "maybe"),
        ("CARDROOM_COMMAND_BURST", "1"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_origin(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({variable: value})
    assert caught.value.name == variable.removeprefix("CARDROOM_").lower()
    assert caught.value.origin == variable


@pytest.mark.parametrize("text", ["http_port = '80'", "enable_rigged_decks = 1", "data_dir = 3"])
def test_the_file_is_strict_about_types(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError):
        load({}, write(tmp_path / "c.toml", text))


@pytest.mark.parametrize("name", ["htp_port", "origins", "warnings"])
def test_an_unknown_key_in_the_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="no such setting"):
        load({}, write(tmp_path / "c.toml", f"{name} = 1"))


def test_a_misspelt_key_names_its_neighbour(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="near: http_port"):
        load({}, write(tmp_path / "c.toml", "htp_port = 1"))


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not TOML"):
        load({}, write(tmp_path / "c.toml", "=="))


def test_an_unknown_variable_is_only_a_warning() -> None:
    settings = load({"CARDROOM_HTP_PORT": "1", "OTHER": "2"})
    (warning,) = settings.warnings
    assert warning.startswith("CARDROOM_HTP_PORT")
    assert "CARDROOM_HTTP_PORT" in warning


def test_a_jwks_url_leaves_the_algorithm_to_its_keys_unless_told_otherwise() -> None:
    url = {"CARDROOM_JWKS_URL": "https://id.example/jwks"}
    assert load({}).jwt_algorithm == "HS256"
    assert load(url).jwt_algorithm == "JWKS"
    assert load({**url, "CARDROOM_JWT_ALGORITHM": "ES256"}).jwt_algorithm == "ES256"


@pytest.mark.parametrize(
    "environ",
    [
        {"CARDROOM_JWT_ALGORITHM": "RS256"},
        {"CARDROOM_JWT_ALGORITHM": "HS256", "CARDROOM_JWKS_URL": "https://id.example/jwks"},
    ],
)
def test_algorithm_and_source_of_keys_must_agree(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ)
    assert caught.value.name == "jwt_algorithm"


def test_a_short_secret_is_warned_of_without_being_told() -> None:
    (warning,) = load({"CARDROOM_JWT_SECRET": "hunter2"}).warnings
    assert "jwt_secret" in warning
    assert "hunter2" not in warning


@pytest.mark.parametrize("name", ["APP_ID", "API_KEY"])
def test_half_a_push_provider_is_worth_a_warning(name: str) -> None:
    (warning,) = load({f"CARDROOM_ONESIGNAL_{name}": "x"}).warnings
    assert "push notifications are off" in warning
    whole = {"CARDROOM_ONESIGNAL_APP_ID": "x", "CARDROOM_ONESIGNAL_API_KEY": "y"}
    assert load(whole).warnings == ()


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"CARDROOM_PUSH_LEASE_S": "10"}, "push_lease_s"),
        ({"CARDROOM_PUSH_TIMEOUT_S": "61"}, "push_lease_s"),
        ({"CARDROOM_ONESIGNAL_BASE_URL": "api.onesignal.com"}, "onesignal_base_url"),
    ],
)
def test_push_settings_that_cannot_work_are_refused(environ: dict[str, str], name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ)
    assert caught.value.name == name


@pytest.mark.parametrize(
    "database_url",
    [
        "postgresql://me:S3CRET@db:5432/cardroom",
        "postgresql://me@db/cardroom?password=S3CRET&sslmode=require",
        "host=db password=S3CRET user=me",
        "host=db password = 'S3CRET \\' x' user=me",
    ],
)
def test_print_config_shows_no_secret(database_url: str) -> None:
    settings = load(
        {
            "DATABASE_URL": database_url,
            "CARDROOM_JWT_SECRET": "S3CRET" * 8,
            "CARDROOM_ONESIGNAL_API_KEY": "S3CRET",
            "CARDROOM_PUSHER_SECRET": "S3CRET",
            "CARDROOM_JWKS_URL": "https://me:S3CRET@id.example/jwks",
            "CARDROOM_ONESIGNAL_BASE_URL": "https://me:S3CRET@push.example",
        }
    )
    shown = masked(settings)
    assert b"S3CRET" not in msgspec.json.encode(shown)
    assert "db" in shown["database_url"]["value"]
    assert "me" in shown["database_url"]["value"]
    assert shown["jwt_secret"]["origin"] == "CARDROOM_JWT_SECRET"


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    first = ensure_jwt_secret(data_dir)
    assert ensure_jwt_secret(data_dir) == first
    assert len(first) >= 32
    path = data_dir / JWT_SECRET_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in data_dir.iterdir()] == [JWT_SECRET_FILE]
    assert ensure_jwt_secret(tmp_path / "other") != first


def test_of_two_first_starts_both_get_the_same_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / JWT_SECRET_FILE
    theirs = "t" * 40

    def link_after_another_process(_source: str, _target: Path) -> None:
        path.write_text(theirs, encoding="ascii")
        raise FileExistsError

    monkeypatch.setattr("server.settings.os.link", link_after_another_process)
    assert ensure_jwt_secret(tmp_path) == theirs
    assert [entry.name for entry in tmp_path.iterdir()] == [JWT_SECRET_FILE]


def test_a_torn_secret_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / JWT_SECRET_FILE, "short\n")
    with pytest.raises(SettingsError) as caught:
        ensure_jwt_secret(tmp_path)
    assert "short\n" not in str(caught.value)
