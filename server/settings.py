"""Every setting of the server in one frozen struct, read once at the start and passed on.

Sources, strongest first: environment (`CARDROOM_…`, and `DATABASE_URL`), a TOML file, the defaults
below. A field's name is its key in the TOML file and, upper-cased after `CARDROOM_`, its variable.
An empty variable counts as unset.

Errors: `SettingsError` is the only one.
"""

import contextlib
import difflib
import math
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Amount = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
PositiveSeconds = Annotated[float, Meta(gt=0)]
JwtAlgorithm = Literal["HS256", "RS256", "ES256", "JWKS"]
"""`JWKS`: each key at `jwks_url` says it by its type, RS256 for RSA and ES256 for EC."""

DEFAULT_CONFIG = "cardroom.toml"
JWT_SECRET_FILE = "jwt_secret"
MIN_SECRET_BYTES = 32
"""RFC 7518 section 3.2: a key of HS256 has at least the 256 bits of its hash."""

_PREFIX = "CARDROOM_"
_CONFIG_VARIABLE = "CARDROOM_CONFIG"
_MASK = "********"
_SECRET_FIELDS = frozenset({"jwt_secret", "onesignal_api_key", "pusher_secret"})
_BOOKKEEPING = frozenset({"origins", "warnings"})
_BOOLEAN_WORDS = {"on": "true", "yes": "true", "off": "false", "no": "false"}


class SettingsError(Exception):
    """A setting that cannot be used. `name` is the setting, `origin` where its value came from."""

    def __init__(self, name: str, origin: str, reason: str) -> None:
        super().__init__(f"{name} (from {origin}): {reason}")
        self.name = name
        self.origin = origin
        self.reason = reason


class Settings(Struct, frozen=True, kw_only=True):
    """What the server runs with. Times end in their unit, sizes are bytes, counts are plain.

    `origins` names the source of every value that is not a default; `warnings` are sentences for
    the operator, to be logged once logging is set up.
    """

    # Where things are. Port 0 takes a free port; no database URL starts an embedded PostgreSQL.
    database_url: str | None = None
    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    http_port: Port = 8000
    ws_port: Port = 8001
    advertised_ws_address: str | None = None
    allowed_origins: tuple[str, ...] = ()

    # Access tokens. No secret with HS256: one is made and kept in the data folder.
    jwt_secret: str | None = None
    jwks_url: str | None = None
    jwt_algorithm: JwtAlgorithm = "HS256"
    jwt_audience: str | None = None
    jwt_issuer: str | None = None

    # Database and ownership of rooms.
    db_connections: Count = 8
    db_timeout_s: PositiveSeconds = 2.0
    node_lease_s: PositiveSeconds = 10.0
    allow_unsafe_durability: bool = False
    event_retention_days: Count = 30

    # Play, and how long somebody may be away.
    hand_interval_s: Seconds = 3.0
    starting_balance: Amount = 10_000
    idle_socket_s: PositiveSeconds = 45.0
    disconnect_after_s: PositiveSeconds = 300.0
    free_seat_after_s: PositiveSeconds = 600.0
    spectator_drop_after_s: PositiveSeconds = 300.0
    seat_offer_s: PositiveSeconds = 60.0
    reject_cooldown_s: Seconds = 60.0
    rejoin_token_ttl_s: PositiveSeconds = 300.0
    rejoin_overlap_s: Seconds = 10.0
    last_seen_flush_s: PositiveSeconds = 5.0
    enable_rigged_decks: bool = False

    # Limits of one client.
    max_message_bytes: Count = 16 * 1024
    commands_per_s: Count = 30
    command_burst: Count = 60
    sockets_per_user: Count = 20
    queue_messages: Count = 512
    queue_bytes: Count = 1024 * 1024
    missed_events_limit: Count = 300
    auth_timeout_s: PositiveSeconds = 5.0
    handshake_timeout_s: PositiveSeconds = 3.0
    half_open_handshakes: Count = 4096
    send_timeout_s: PositiveSeconds = 10.0
    close_timeout_s: PositiveSeconds = 1.5
    ping_interval_s: PositiveSeconds = 20.0

    # Actors and the process.
    mailbox_capacity: Count = 256
    restart_intensity: Count = 5
    restart_window_s: PositiveSeconds = 60.0
    passivate_after_s: PositiveSeconds = 300.0

    # Push notifications and the Pusher-compatible endpoint; each off without its keys.
    onesignal_app_id: str | None = None
    onesignal_api_key: str | None = None
    onesignal_base_url: str = "https://api.onesignal.com"
    push_concurrency: Count = 4
    push_timeout_s: PositiveSeconds = 10.0
    push_lease_s: PositiveSeconds = 60.0
    push_retry_first_s: PositiveSeconds = 2.0
    push_retry_most_s: PositiveSeconds = 300.0
    push_poll_s: PositiveSeconds = 5.0
    pusher_app_id: str | None = None
    pusher_key: str | None = None
    pusher_secret: str | None = None

    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    origins: dict[str, str] = {}
    warnings: tuple[str, ...] = ()


_FIELDS = {
    field.name: field
    for field in msgspec.structs.fields(Settings)
    if field.name not in _BOOKKEEPING
}


def load(environ: Mapping[str, str], toml_path: Path | None = None) -> Settings:
    """Read the settings.

    `toml_path` names the file; None takes what `CARDROOM_CONFIG` names, else `cardroom.toml` in the
    working folder if there is one. An unknown `CARDROOM_…` variable is a warning (another tool may
    own it), an unknown key in the file an error (nobody else writes there).

    Raises:
        SettingsError: a value of the wrong type or out of range, values that contradict each other,
            an unknown key, a file that was named and is missing or is no TOML.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    path = _config_path(environ, toml_path)
    if path is not None:
        for name, raw in _read_toml(path).items():
            if name not in _FIELDS:
                raise SettingsError(name, str(path), f"no such setting{_near(name, _FIELDS)}")
            origins[name] = str(path)
            values[name] = _convert(name, raw, origins[name], lax=False)
    for name in _FIELDS:
        variable = variable_of(name)
        text = environ.get(variable, "").strip()
        if text:
            origins[name] = variable
            values[name] = _convert(name, text, variable, lax=True)

    if "jwt_algorithm" not in values and values.get("jwks_url"):
        values["jwt_algorithm"] = "JWKS"
        origins["jwt_algorithm"] = f"{origins['jwks_url']} (implied by jwks_url)"
    settings = Settings(**values, origins=origins, warnings=tuple(_unknown_variables(environ)))
    return _checked(settings)


def variable_of(name: str) -> str:
    """Name the environment variable of a setting."""
    return "DATABASE_URL" if name == "database_url" else _PREFIX + name.upper()


def masked(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return every setting as `{"value", "origin"}`, with secrets masked: fit for showing."""
    return {
        name: {
            "value": _shown(name, getattr(settings, name)),
            "origin": settings.origins.get(name, "default"),
        }
        for name in _FIELDS
    }


def ensure_jwt_secret(data_dir: Path) -> str:
    """Return the server's own HS256 secret, made on the first call and kept for all later ones.

    The file has mode 0600 and appears complete or not at all, so that of two processes that start
    at once both end with the same secret.

    Raises:
        SettingsError: the file is there and holds too little to be a secret.
        OSError: the folder cannot be written.
    """
    path = data_dir / JWT_SECRET_FILE
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        # mkstemp creates with mode 0600; link, unlike rename, never replaces the other's file.
        handle, temporary = tempfile.mkstemp(prefix=f".{JWT_SECRET_FILE}.", dir=data_dir)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(48))
                file.flush()
                os.fsync(file.fileno())
            # Another process may have been first: then its secret is the one read below.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            os.unlink(temporary)
    secret = path.read_text(encoding="ascii").strip()
    if len(secret) < MIN_SECRET_BYTES:
        raise SettingsError("jwt_secret", str(path), f"shorter than {MIN_SECRET_BYTES} characters")
    return secret


def _config_path(environ: Mapping[str, str], toml_path: Path | None) -> Path | None:
    if toml_path is not None:
        return toml_path
    named = environ.get(_CONFIG_VARIABLE, "").strip()
    if named:
        return Path(named)
    default = Path(DEFAULT_CONFIG)
    return default if default.is_file() else None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError("config", str(path), error.strerror or "cannot be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("config", str(path), f"is not TOML: {error}") from error


def _convert(name: str, raw: object, origin: str, *, lax: bool) -> Any:  # the type is the field's
    kind = _FIELDS[name].type
    if lax and isinstance(raw, str):
        if kind is bool:
            raw = _BOOLEAN_WORDS.get(raw.lower(), raw)
        elif name == "allowed_origins":
            raw = [part.strip() for part in raw.split(",") if part.strip()]
    try:
        value = msgspec.convert(raw, kind, strict=not lax, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        # msgspec names what it wants and the type it got, never the value itself, except for a
        # choice: a secret has no choices.
        raise SettingsError(name, origin, str(error)) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(name, origin, "Expected a finite number")
    return value


def _decode_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise msgspec.ValidationError(f"Expected `str`, got `{type(value).__name__}`")


def _checked(settings: Settings) -> Settings:
    algorithm = settings.jwt_algorithm
    origin = settings.origins.get("jwt_algorithm", "default")
    if algorithm != "HS256" and settings.jwks_url is None:
        raise SettingsError("jwt_algorithm", origin, f"{algorithm} needs jwks_url")
    if algorithm == "HS256" and settings.jwks_url is not None:
        raise SettingsError("jwt_algorithm", origin, "HS256 does not use jwks_url: unset one")
    if settings.command_burst < settings.commands_per_s:
        origin = settings.origins.get("command_burst", "default")
        raise SettingsError("command_burst", origin, "is below commands_per_s")
    if settings.push_lease_s <= settings.push_timeout_s:
        origin = settings.origins.get("push_lease_s", "default")
        raise SettingsError("push_lease_s", origin, "is not above push_timeout_s")
    if urlsplit(settings.onesignal_base_url).scheme not in ("http", "https"):
        origin = settings.origins.get("onesignal_base_url", "default")
        raise SettingsError("onesignal_base_url", origin, "is no http:// or https:// URL")
    if (settings.onesignal_app_id is None) != (settings.onesignal_api_key is None):
        warning = "onesignal_app_id and onesignal_api_key go together: push notifications are off"
        settings = msgspec.structs.replace(settings, warnings=(*settings.warnings, warning))
    secret = settings.jwt_secret
    if secret is not None and len(secret.encode()) < MIN_SECRET_BYTES:
        warning = f"jwt_secret is shorter than {MIN_SECRET_BYTES} bytes: it can be guessed"
        return msgspec.structs.replace(settings, warnings=(*settings.warnings, warning))
    return settings


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    known = {variable_of(name) for name in _FIELDS} | {_CONFIG_VARIABLE}
    return [
        f"{variable} is no setting of Cardroom{_near(variable, known)}"
        for variable in sorted(environ)
        if variable.startswith(_PREFIX) and variable not in known
    ]


def _near(name: str, known: Mapping[str, object] | set[str]) -> str:
    matches = difflib.get_close_matches(name, sorted(known), n=2)
    return f"; near: {', '.join(matches)}" if matches else ""


def _shown(name: str, value: object) -> object:
    if value is None:
        return None
    if name in _SECRET_FIELDS:
        return _MASK
    if isinstance(value, str) and (name == "database_url" or "://" in value):
        return _without_password(value)
    return str(value) if isinstance(value, Path) else value


def _without_password(conninfo: str) -> str:
    """Mask the password of a URL or of a `key=value` connection string."""
    if "://" in conninfo:
        password = urlsplit(conninfo).netloc.rpartition("@")[0].partition(":")[2]
        if password:
            conninfo = conninfo.replace(f":{password}@", f":{_MASK}@", 1)
        return re.sub(r"([?&](?:ssl)?password=)[^&#]*", rf"\g<1>{_MASK}", conninfo)
    return re.sub(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)", rf"\g<1>{_MASK}", conninfo)
