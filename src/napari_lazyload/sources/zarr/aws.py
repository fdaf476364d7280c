"""Endpoint, region and keys for S3 as other tools take them: the environment, then ``~/.aws``.

Source of the formats: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html and
https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from configparser import ConfigParser, Error
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS = 10.0
_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}


def aws_settings() -> tuple[dict[str, str], dict[str, str]]:
    """Return the options of obstore for endpoint and region, and those for keys of a profile."""
    environment = os.environ
    profile = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"
    config = _read(environment.get("AWS_CONFIG_FILE") or "~/.aws/config")
    shared = _read(environment.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials")
    section = _section(config, profile if profile == "default" else f"profile {profile}")
    section = {**section, **_section(shared, profile)}
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        section.pop("endpoint_url", None)
        section.pop("services", None)
    services = _nested(_section(config, f"services {section.get('services')}").get("s3", ""))
    options = {
        "endpoint": environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
        or services.get("endpoint_url")
        or section.get("endpoint_url"),
        "region": environment.get("AWS_REGION")
        or environment.get("AWS_DEFAULT_REGION")
        or section.get("region"),
    }
    found = {name: value for name, value in options.items() if value}
    if environment.get("AWS_ACCESS_KEY_ID"):  # those of the environment come first
        return found, {}
    return found, {_KEYS[name]: section[name] for name in _KEYS if section.get(name)}


def _read(path: str) -> ConfigParser:
    """Return an INI file; an empty one where it cannot be read."""
    parser = ConfigParser(interpolation=None, strict=False, default_section="")
    try:
        parser.read(os.path.expanduser(path), "utf-8")
    except (Error, OSError, UnicodeDecodeError):
        return ConfigParser()
    return parser


def _section(parser: ConfigParser, name: str) -> Mapping[str, str]:
    return dict(parser[name]) if parser.has_section(name) else {}


def _nested(text: str) -> Mapping[str, str]:
    """Return the indented lines ``name = value`` below a name."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def find_region(bucket: str) -> str | None:
    """Return the region of a bucket at Amazon, None where it cannot be found out."""
    # A bucket with dots in its name has no certificate as a host.
    url = (
        f"https://s3.amazonaws.com/{bucket}"
        if "." in bucket
        else f"https://{bucket}.s3.amazonaws.com/"
    )
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as err:  # the header is there even where access is denied
        headers = err.headers
    except OSError:
        return None
    return headers.get("x-amz-bucket-region") or None
