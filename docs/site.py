"""`python docs/site.py OUT`: copies the pages, and the files that they link to, in the layout of the repository.

The pages link to each other as a git host shows them. In the same layout, the same links work on the site. Links to
folders get a page that lists the folder. The reference of the client is the only page that exists on the site alone.
"""

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[1]
_PAGES = ("*.md", "client/README.md", "deploy/README.md", "benchmarks/README.md", "weights/*.md", "docs/**/*.md")
_LINK = re.compile(r"(\]\(|src=\"|href=\")([^)\s\"#:]+)(#[^)\s\"]*)?([)\"])")
_REFERENCE = """# Reference of the client

Everything that `cigpose_client` exports, from its docstrings. [The manual](../client/README.md) has examples.

::: cigpose_client
"""


def main(argv: Sequence[str]) -> int:
    """Copy everything into the folder `argv[0]`, which is replaced."""
    out = Path(argv[0])
    shutil.rmtree(out, ignore_errors=True)
    pages = {path for pattern in _PAGES for path in _CHECKOUT.glob(pattern)}
    files: set[Path] = set()
    for page in sorted(pages):
        text = page.read_text(encoding="utf-8")
        linked = {target for _, target in _targets(page, text)}
        files |= {path for path in linked if path.is_file()} - pages
        for folder in {path for path in linked if path.is_dir()}:
            _write(_listing(folder), out / folder.relative_to(_CHECKOUT) / "index.md")
            files |= {path for path in folder.iterdir() if path.is_file()} - pages
        _write(_to_listings(page, text), out / page.relative_to(_CHECKOUT))
    for path in sorted(files):
        target = out / path.relative_to(_CHECKOUT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    _write(_REFERENCE, out / "docs" / "reference.md")
    return 0


def _targets(page: Path, text: str) -> Iterator[tuple[str, Path]]:
    """Yield the links to files of the checkout: text, and the path that it names."""
    for match in _LINK.finditer(text):
        path = (page.parent / match[2]).resolve()
        if path.is_relative_to(_CHECKOUT) and path.exists():
            yield match[2], path


def _to_listings(page: Path, text: str) -> str:
    """Return the page with links to folders as links to their listings."""
    folders = {link for link, path in _targets(page, text) if path.is_dir()}

    def replaced(match: re.Match[str]) -> str:
        listing = f"{match[2].rstrip('/')}/index.md" if match[2] in folders else match[2]
        return f"{match[1]}{listing}{match[3] or ''}{match[4]}"

    return _LINK.sub(replaced, text)


def _listing(folder: Path) -> str:
    """Return a page that lists a folder's files by the titles of its pages."""
    lines = [f"# {folder.relative_to(_CHECKOUT)}", ""]
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        title = path.name
        if path.suffix == ".md":
            title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join(lines) + "\n"


def _write(text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
