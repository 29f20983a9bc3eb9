"""Settings: what `refold.toml` and the environment may say, as models. Secrets are held so that nothing shows them.

`configuration` reads them, `composition` makes adapters and endpoints of them; docs/configuration.md has every key.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import PydanticBaseSettingsSource as Source

from .setting_values import (
    MAX_WAIT_S,
    Address,
    Count,
    Flag,
    Id,
    Moment,
    Path,
    Port,
    Seconds,
    SecretText,
    Text,
    Wait,
    between,
    many,
    one_of,
    whole,
)

_DAY_S: Final = 86_400


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


# ---- the sections ---------------------------------------------------------------------------------------------------


class StoreSettings(Section):
    """`[store]`."""

    url: SecretText | None = Field(
        default=None,
        description="`sqlite:///PATH` (four slashes for an absolute path) or `postgresql://USER@HOST/DATABASE`",
    )
    durability: Annotated[str, one_of("full", "relaxed")] = Field(
        default="full", description="`relaxed` does not wait for the disk: a power cut then loses events"
    )
    timeout_s: Annotated[float, between(0, MAX_WAIT_S)] = Field(
        default=5.0, description="how long to wait for another writer"
    )
    sqlite_repaired: Flag = Field(
        default=False,
        description="this system's SQLite has the repair of the WAL-reset bug, whatever its number says",
    )


class WorkSettings(Section):
    """`[work]`."""

    concurrency: Annotated[int, whole(1, 256)] = Field(
        default=8, description="contacts at once with each gateway, 1 to 256"
    )


class WebhookSettings(Section):
    """`[webhooks]`: what `refold serve` listens on, and what strangers may take of it."""

    host: Text = Field(default="127.0.0.1", description="the address `refold serve` listens on")
    port: Port = Field(default=8080, description="the port; 0 takes a free one")
    behind_tls_proxy: Flag = Field(
        default=False,
        description="listen on other than loopback addresses: TLS ends in front",
    )
    body_bytes: Annotated[int, whole(1, 262_144)] = Field(
        default=262_144, description="of a webhook's body; more is 413"
    )
    body_s: Seconds = Field(default=10.0, description="until the whole body must have arrived; later is 408")
    in_flight: Count = Field(default=256, description="webhooks held in memory at once; one more is 503")
    threads: Count = Field(default=8, description="webhooks checked and recorded at once")
    answer_s: Seconds = Field(default=15.0, description="until a webhook must be durable; later is 503")
    probe_s: Seconds = Field(
        default=5.0, description="within which the store must answer `/readyz` and `/metrics`"
    )

    LIMITS: ClassVar[tuple[str, ...]] = (
        "body_bytes",
        "body_s",
        "in_flight",
        "threads",
        "answer_s",
        "probe_s",
    )


class KeySettings(Section):
    """One of a gateway's `keys`: its name, and where the secret is."""

    id: Id = Field(description="the key's name, which is shown and noted beside what it verified")
    secret: SecretText | None = Field(default=None, description="the key itself; only in a file of mode 0600")
    # Not shown: who mistakes one of these for the other one has put the key itself there.
    secret_file: Text | None = Field(default=None, repr=False, description="a file that holds the key")
    secret_env: Text | None = Field(
        default=None, repr=False, description="an environment variable that holds the key"
    )
    expires_at: Moment | None = Field(
        default=None, description="from then on the key signs and verifies nothing; a time with an offset"
    )

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if sum(given is not None for given in (self.secret, self.secret_file, self.secret_env)) != 1:
            raise ValueError("exactly one of secret_file, secret_env and secret is needed")
        return self


class GatewaySettings(Section):
    """What every gateway's section has: the way to it, and times other than the documented ones."""

    base_url: Address | None = Field(
        default=None, description="where the gateway is, https; without it nothing is sent there"
    )
    notify_url: Address | None = Field(default=None, description="where it shall send its webhooks")
    proxy: SecretText | None = Field(
        default=None, description="URL of a forward proxy; with a password, mode 0600"
    )
    ca_file: Text | None = Field(
        default=None, description="PEM file of the authorities to trust instead of the public"
    )
    connect_timeout_s: Wait = Field(default=10, description="how long to wait for a connection")
    post_timeout_s: Wait | None = Field(default=None, description="how long to wait for an answer")
    poll_interval_s: Annotated[int, whole(1, _DAY_S)] | None = Field(
        default=None, description="least time between two queries of a refund"
    )
    outcome_window_s: Annotated[int, whole(1, 366 * _DAY_S)] | None = Field(
        default=None, description="after it a refund without an outcome is overdue"
    )
    key_retention_s: Annotated[int, whole(1, 366 * _DAY_S)] | None = Field(
        default=None, description="how long the gateway keeps an idempotency key"
    )

    ADAPTER: ClassVar[tuple[str, ...]] = ()
    """The keys that are the adapter's own arguments."""
    TIMES: ClassVar[tuple[str, ...]] = (
        "post_timeout_s",
        "poll_interval_s",
        "outcome_window_s",
        "key_retention_s",
    )

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        idle = [name for name in ("notify_url", "proxy", "ca_file") if getattr(self, name) is not None]
        if self.base_url is None and idle:
            raise ValueError(f"{' and '.join(idle)} without base_url: say where the gateway is")
        return self


class KeyedSettings(GatewaySettings):
    """A gateway whose messages are signed with shared keys."""

    keys: Annotated[tuple[KeySettings, ...], BeforeValidator(many)] = Field(
        default=(), description="the keys, in the order of preference: the first one not expired signs"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len({key.id for key in self.keys}) != len(self.keys):
            raise ValueError("one key id stands twice in keys; give each its own")
        return self


_SIGN_TYPES: Final = ("SHA256", "SHA512", "HMAC-SHA256", "HMAC-SHA512")


class EvoSettings(KeyedSettings):
    """What EVO Cloud and Evonet share."""

    sign_type: Annotated[str, one_of(*_SIGN_TYPES, "Key-based")] = Field(
        default="SHA256", description=f"how requests are signed: {', '.join(_SIGN_TYPES)} or Key-based"
    )
    accepted_sign_types: Annotated[
        tuple[Annotated[str, one_of(*_SIGN_TYPES)], ...], BeforeValidator(many)
    ] = Field(default=_SIGN_TYPES, description="what an incoming SignType header may select")
    send_key_id: Flag = Field(
        default=False,
        description="send the key's id as the KeyID header",
    )
    base_path: Path = Field(default="", description="what stands before every path")

    ADAPTER: ClassVar[tuple[str, ...]] = ("sign_type", "accepted_sign_types", "send_key_id", "base_path")


class EvocloudSettings(EvoSettings):
    """`[gateways.evocloud]`."""

    sid: Id | None = Field(default=None, description="the store's number; needed to send")

    ADAPTER: ClassVar[tuple[str, ...]] = (*EvoSettings.ADAPTER, "sid")


class EvonetSettings(EvoSettings):
    """`[gateways.evonet]`."""

    query_path: Text = Field(
        default="/refund/{merchantTransID}", description="the path that returns a refund by our own number"
    )

    ADAPTER: ClassVar[tuple[str, ...]] = (*EvoSettings.ADAPTER, "query_path")


class EasylinkSettings(KeyedSettings):
    """`[gateways.easylink]`."""

    mch_no: Id | None = Field(default=None, description="the merchant number; needed to send")
    app_id: Id | None = Field(default=None, description="the application id; needed to send")
    payment_reference: Annotated[str, one_of("payOrderId", "mchOrderNo")] = Field(
        default="payOrderId", description="which field our payment ids are: payOrderId or mchOrderNo"
    )

    ADAPTER: ClassVar[tuple[str, ...]] = ("mch_no", "app_id", "payment_reference")


class BbmslSettings(GatewaySettings):
    """`[gateways.bbmsl]`."""

    merchant_id: Id | None = Field(default=None, description="the merchant identifier; needed to send")
    reference: Annotated[str, one_of("merchantReference", "orderId")] = Field(
        default="merchantReference",
        description="which field our payment ids are: merchantReference or orderId",
    )
    currency: Id = Field(default="HKD", description="ISO 4217 code of the merchant's orders")
    private_key: SecretText | None = Field(
        default=None, description="the RSA key itself, PEM; only in a file of mode 0600"
    )
    private_key_file: Text | None = Field(default=None, repr=False, description="a file that holds it")
    private_key_env: Text | None = Field(
        default=None, repr=False, description="an environment variable that holds it"
    )

    ADAPTER: ClassVar[tuple[str, ...]] = ("merchant_id", "reference", "currency")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        given = (self.private_key, self.private_key_file, self.private_key_env)
        if sum(each is not None for each in given) > 1:
            raise ValueError("only one of private_key_file, private_key_env and private_key may be given")
        return self


class Gateways(Section):
    """`[gateways]`: a gateway without a section reads messages and sends nothing."""

    evocloud: EvocloudSettings = EvocloudSettings()
    evonet: EvonetSettings = EvonetSettings()
    easylink: EasylinkSettings = EasylinkSettings()
    bbmsl: BbmslSettings = BbmslSettings()


class Settings(BaseSettings):
    """Everything that can be configured. `configuration.read_settings` reads it; by itself it holds the defaults."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    store: StoreSettings = StoreSettings()
    work: WorkSettings = WorkSettings()
    webhooks: WebhookSettings = WebhookSettings()
    gateways: Gateways = Gateways()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: Source, *_: Source, **__: Source
    ) -> tuple[Source, ...]:
        """Read nothing unasked: pydantic-settings would look at every variable of the environment."""
        del settings_cls
        return (init_settings,)

    def sending_to(self) -> tuple[str, ...]:
        """Return the gateways that something is sent to."""
        return tuple(
            name for name in Gateways.model_fields if getattr(self.gateways, name).base_url is not None
        )
