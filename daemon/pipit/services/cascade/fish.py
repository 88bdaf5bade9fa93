"""What hearing and speaking with Fish Audio have in common: https://docs.fish.audio."""

from __future__ import annotations

from typing import Any

from pipit import __version__
from pipit.core.options import Secret
from pipit.errors import ConfigError
from pipit.services.cascade.refusals import key_problems, problems
from pipit.services.settings import is_loopback

URL = "https://api.fish.audio"


def packer() -> Any:
    """Return the module that reads and writes Fish Audio's messages.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import msgpack
    except ImportError as error:
        raise ConfigError(f"Fish Audio needs msgpack ({error}): sudo make install EXTRAS=fish") from error
    return msgpack


def check(url: str, api_key: Secret | None, section: str, *, insecure: bool) -> None:
    """Check what can be known without a network.

    Args:
        url: address of the service.
        api_key: the key.
        section: where in the configuration the stage is: "service.hear".
        insecure: as in the settings.

    Raises:
        ConfigError: with everything that is wrong.
    """
    wrong = problems(url, f"{section}.url", ("https", "http"), insecure=insecure)
    wrong += key_problems(api_key, f"{section}.api_key")
    if not wrong and api_key is None and not is_loopback(url):
        wrong.append("service.api_key: Fish Audio needs a key; for example `api_key: !credential fish`")
    if wrong:
        raise ConfigError(*wrong)


def headers(key: str, **others: str | None) -> dict[str, str]:
    """Return what each request says of us; others that are None are left out."""
    told = {name: value for name, value in others.items() if value is not None}
    authorization = {"Authorization": f"Bearer {key}"} if key else {}
    return {"User-Agent": f"pipit/{__version__}", **authorization, **told}
