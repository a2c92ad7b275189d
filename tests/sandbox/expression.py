"""The small language of a policy's conditions, e.g. ``flow.tags.kind == "build"``."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping

Context = Mapping[str, str]
"""What a condition may ask for, by its dotted name; what is absent is null."""

Term = Callable[[Context], str | None]
Condition = Callable[[Context], bool]

_TOKEN = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z_][\w.\-]*)|(==|!=|[(),]))""")
_NAME = re.compile(r"flow|flow\.name|flow\.tags\..+|artifact\.(name|fingerprint)")


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Condition:
    """Return the condition that ``text`` spells; raise ValueError where it is not one."""
    parser = _Parser(text)
    condition = parser.either()
    if parser.tokens:
        raise parser.error(f"{parser.tokens[0][1]!r} is left over")
    return condition


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.error(f"{text[position:]!r} is not understood")
            double, single, name, sign = match.groups()
            string = single if double is None else double
            if string is not None:
                self.tokens.append(("string", string))
            else:
                self.tokens.append(("name", name) if name else ("sign", sign))
            position = match.end()

    def error(self, problem: str) -> ValueError:
        return ValueError(f"not a policy expression: {self.text!r}: {problem}")

    def taken(self, *words: str) -> str:
        if self.tokens and self.tokens[0][0] != "string" and self.tokens[0][1] in words:
            return self.tokens.pop(0)[1]
        return ""

    def expect(self, sign: str) -> None:
        if not self.taken(sign):
            raise self.error(f"{sign!r} is missing")

    def either(self) -> Condition:
        parts = [self.both()]
        while self.taken("or"):
            parts.append(self.both())
        return lambda context: any(part(context) for part in parts)

    def both(self) -> Condition:
        parts = [self.single()]
        while self.taken("and"):
            parts.append(self.single())
        return lambda context: all(part(context) for part in parts)

    def single(self) -> Condition:
        if self.taken("not"):
            negated = self.single()
            return lambda context: not negated(context)
        if self.taken("("):
            inner = self.either()
            self.expect(")")
            return inner
        function = self.taken("exists", "matches")
        return self.call(function) if function else self.comparison()

    def call(self, function: str) -> Condition:
        self.expect("(")
        subject = self.term()
        if function == "exists":
            self.expect(")")
            return lambda context: subject(context) is not None
        self.expect(",")
        kind, pattern = self.tokens.pop(0) if self.tokens else ("", "")
        if kind != "string":
            raise self.error("matches() takes a string as its pattern")
        self.expect(")")
        regex = re.compile(pattern)
        return lambda context: regex.search(subject(context) or "") is not None

    def comparison(self) -> Condition:
        left = self.term()
        sign = self.taken("==", "!=")
        if not sign:
            raise self.error("'==' or '!=' is missing")
        right = self.term()
        return lambda context: (left(context) == right(context)) is (sign == "==")

    def term(self) -> Term:
        if not self.tokens:
            raise self.error("it ends too early")
        kind, value = self.tokens.pop(0)
        if kind == "string":
            return lambda context: value
        if kind == "name" and _NAME.fullmatch(value):
            return lambda context: context.get(value)
        raise self.error(f"{value!r} is neither a string nor a name of flow or artifact")
