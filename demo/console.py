"""A console session as a browser has it: cookies and form tokens. Used where the demo must press a button."""

import html
import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from demo.display import NotAsItShouldBe

TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
FLASH = re.compile(r'<p class="flash bad"[^>]*>(.*?)</p>', re.DOTALL)
TIMEOUT_S = 10.0


class ConsoleSession:
    """Signed in with a one-time link, with a password that nobody keeps."""

    def __init__(self, url: str) -> None:
        self._url = url
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(jar)

    def accept(self, link: str, password: str) -> None:
        """Open a one-time link and set the password."""
        self._post(link, link, {"password": password, "again": password})

    def press(self, page: str, action: str, **fields: str) -> str:
        """Open a page, send one of its forms, and return the address it led to."""
        return self._post(self._url + page, self._url + action, fields)

    def read(self, path: str) -> dict[str, Any]:
        """Read a JSON answer."""
        with self._open(self._url + path) as answer:
            told: dict[str, Any] = json.loads(answer.read())
        return told

    def _post(self, page: str, action: str, fields: dict[str, str]) -> str:
        with self._open(page) as answer:
            token = TOKEN.search(answer.read().decode())
        if token is None:
            raise NotAsItShouldBe(f"no form at {page}")
        body = urllib.parse.urlencode({"csrf_token": html.unescape(token[1]), **fields}).encode()
        with self._open(action, body) as answer:
            wrong = FLASH.search(answer.read().decode())
            if wrong:
                raise NotAsItShouldBe(f"{action}: {html.unescape(wrong[1])}")
            return str(answer.geturl())

    def _open(self, url: str, body: bytes | None = None) -> Any:
        try:
            return self._opener.open(url, body, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            raise NotAsItShouldBe(f"{url}: HTTP {error.code}") from error
