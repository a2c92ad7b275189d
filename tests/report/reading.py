"""Reads HTML as a browser would: the elements there are, and the text a person sees."""

from __future__ import annotations

from html.parser import HTMLParser


class Reading(HTMLParser):
    """Every start tag with its attributes, and all text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._hidden = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment hides {data!r}")

    @property
    def links(self) -> list[str]:
        """Return where anything in it leads to or loads from."""
        names = ("href", "src", "srcset", "action", "data", "poster", "background")
        return [attrs[name] or "" for _, attrs in self.tags for name in names if name in attrs]
