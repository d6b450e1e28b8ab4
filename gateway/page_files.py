"""The static files of the page and of /docs, and the sample pictures."""

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from gateway.settings import Settings

_FOLDER = Path(__file__).with_name("page")
_PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
# No address but the gateway's own can be asked, so that no third party sees a picture.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Files(StaticFiles):
    """Static files with the headers of the page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def add_page(app: FastAPI, settings: Settings) -> None:
    """Add the page at `/`, the description of the API at `/docs`, and the samples at `/samples/`."""
    files = _Files(directory=_FOLDER)

    async def page(request: Request) -> Response:
        return await files.get_response(request.path_params.get("name", "index.html"), request.scope)

    async def docs(_: Request) -> Response:
        return FileResponse(_FOLDER / "docs.html", headers=_HEADERS)

    async def about(_: Request) -> Response:
        return JSONResponse(
            {"note": settings.note, "samples": _samples(settings.samples), "token": bool(settings.token)}
        )

    app.add_route("/docs", docs, include_in_schema=False)
    app.add_route("/about.json", about, include_in_schema=False)
    if settings.samples:
        app.mount("/samples", _Files(directory=settings.samples))
    app.add_route("/", page, include_in_schema=False)
    app.add_route("/{name}", page, include_in_schema=False)  # a mount would also match wrong methods of the API


def _samples(folder: Path | None) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in _PICTURES) if folder else []
