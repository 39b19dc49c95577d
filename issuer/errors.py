"""What the centre raises. Codes are keys of the message catalogue; the texts hang on them (issuer/messages)."""


class IssuerError(Exception):
    """Anything the centre says no with: `code` names the text, `facts` fill its blanks.

    A hint, where there is one, is the catalogue's text `hint.<code>`.
    """

    def __init__(self, code: str, /, **facts: object) -> None:
        super().__init__(code, facts)
        self.code = code
        self.facts = facts

    def __str__(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{self.code} {told}".rstrip()


class Refused(IssuerError):
    """A rule of the domain says no; nothing was changed. Exit code 1."""


class Forbidden(Refused):
    """This actor may not do this here."""


class NotFound(Refused):
    """What was named does not exist (or not for this actor)."""


class Conflict(Refused):
    """Somebody else changed or took it first."""


class ConfigError(IssuerError):
    """The installation's settings are missing or wrong. Exit code 2."""
