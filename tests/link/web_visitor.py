"""The least of a browser for tests of the console as a process: cookies and forms."""

import http.client
import re
from urllib.parse import urlencode

from console_world import WebProcess


class Visitor:
    """One visitor."""

    def __init__(self, web: WebProcess) -> None:
        self.web = web
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, form: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.web.port, timeout=20)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, form, headers)
        answer = connection.getresponse()
        for name, value in answer.getheaders():
            if name == "Set-Cookie":
                cookie, _, content = value.partition(";")[0].partition("=")
                self.cookies[cookie] = content
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def send(self, path: str, seen: str, **fields: str) -> int:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.ask("GET", seen)[1])
        assert found is not None
        return self.ask("POST", path, urlencode({"csrf_token": found[1], **fields}))[0]

    def sign_in(self, login: str, password: str) -> "Visitor":
        assert self.send("/sign-in", "/sign-in", login=login, password=password) == 302
        return self
