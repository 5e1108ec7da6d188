"""A package from the network: by HTTPS, or plainly from this machine itself."""

from __future__ import annotations

from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from .document import LARGEST_FILE_BYTES
from .errors import PackageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["fetch"]

_SECONDS = 30  # without a byte
_HERE = ("localhost", "127.0.0.1", "::1")


def fetch(url: str) -> bytes:
    """What the server has there, to which it may redirect. Raises PackageError where that can't be had."""
    _check(url, url)
    request = Request(url, headers={"User-Agent": "snoopkit", "Accept": "application/json, */*"})
    try:
        with build_opener(_Redirects).open(request, timeout=_SECONDS) as answer:
            data: bytes = answer.read(LARGEST_FILE_BYTES + 1)
    except HTTPError as error:
        error.close()
        raise PackageError(f"{url}: the server answers {error.code} {error.reason}") from None
    except URLError as error:
        raise PackageError(f"{url}: {error.reason}") from None
    except (OSError, ValueError) as error:
        raise PackageError(f"{url}: {error}") from None
    return data


def _check(url: str, asked: str) -> None:
    """Programs run in the kernel: nobody on the way may change them."""
    try:
        parts = urlsplit(url)
        is_here = parts.hostname in _HERE
    except ValueError:
        raise PackageError(f"{asked}: that is no address") from None
    if parts.scheme == "https" or (parts.scheme == "http" and is_here):
        return
    raise PackageError(
        f"{asked}: nothing is fetched by {parts.scheme} from elsewhere",
        hint="use https, or download it and name the file",
    )


class _Redirects(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
