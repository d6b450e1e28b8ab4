"""The application: routes, failures as problems, and what requests share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

from cigpose_client import PoseClientError
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import WebSocketRoute

from gateway.limits import GUARDED, Budget, Guard, Places
from gateway.metrics import Measured, Metrics
from gateway.networks import Networks, described
from gateway.page_files import add_page
from gateway.poses import BODY, PoseRoute
from gateway.problems import GONE, Problem, busy, problem_of, query_problem
from gateway.settings import Settings
from gateway.stream import Streams
from gateway.tracing import Traced

_ABOUT = "People and their keypoints in pictures. Failures are problem details (RFC 9457)."
_FAILURES = {
    400: "the request is malformed",
    401: "the token is missing or wrong",
    404: "the model does not exist",
    408: "the body did not arrive in time",
    413: "the picture is too large",
    415: "the body is no picture",
    422: "the picture is damaged, or a value is out of range",
    429: "too many requests from this caller; see Retry-After",
    500: "a fault of the gateway",
    502: "the pose server failed",
    503: "overload, or no server; see Retry-After",
    504: "no answer within timeout_s",
}


def create_app(settings: Settings, budget: Budget) -> FastAPI:
    """Return the gateway.

    Args:
        settings: server, limits and page.
        budget: of bodies and frames, which the server's connections share.
    """
    requests, streams = Places(settings.max_requests, "requests"), Places(settings.max_streams, "streams")
    metrics, networks = Metrics(requests, streams), Networks(settings)

    @contextlib.asynccontextmanager
    async def connected(_: FastAPI) -> AsyncIterator[None]:
        networks.open()
        refresh = asyncio.create_task(networks.keep_fresh())
        yield
        refresh.cancel()
        await networks.close()

    app = FastAPI(
        title="CIGPose",
        description=_ABOUT,
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=connected,
    )
    _add_api(app, PoseRoute(settings, networks, budget), networks)
    app.router.routes.append(WebSocketRoute("/v1/stream", Streams(settings, networks, metrics, budget).serve))
    app.add_route("/metrics", metrics.page, include_in_schema=False)
    _add_health(app, networks)
    add_page(app, settings)
    _add_failures(app)
    app.add_middleware(Guard, settings=settings, requests=requests, streams=streams)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["Retry-After", "Server-Timing"],
        )
    if settings.forward_trace:
        app.add_middleware(Traced)
    app.add_middleware(Measured, metrics=metrics, prefix=GUARDED)
    return app


def _add_api(app: FastAPI, route: PoseRoute, networks: Networks) -> None:
    async def models() -> Response:
        """List the networks, and the keypoint sets that they use."""
        return JSONResponse(described(await networks.refresh()))

    failures = {
        status: {"description": text, "content": {"application/problem+json": {}}} for status, text in _FAILURES.items()
    }
    app.add_api_route(
        "/v1/poses",
        route.post,
        methods=["POST"],
        summary="People in a picture",
        response_class=JSONResponse,
        responses=failures,
        openapi_extra={"requestBody": BODY},
    )
    app.add_api_route("/v1/models", models, summary="Networks", response_class=JSONResponse)


def _add_health(app: FastAPI, networks: Networks) -> None:
    async def healthy(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        if await networks.is_ready():
            return JSONResponse({"status": "ready"})
        return busy("the pose server is not ready").response()

    app.add_route("/healthz", healthy, include_in_schema=False)
    app.add_route("/readyz", ready, include_in_schema=False)


def _add_failures(app: FastAPI) -> None:
    async def own(_: Request, error: Exception) -> Response:
        return cast(Problem, error).response()

    async def of_client(_: Request, error: Exception) -> Response:
        return problem_of(cast(PoseClientError, error)).response()

    async def of_query(_: Request, error: Exception) -> Response:
        return query_problem(cast(RequestValidationError, error).errors()[0]).response()

    async def of_route(_: Request, error: Exception) -> Response:
        failure = cast(HTTPException, error)
        return Problem(failure.status_code, f"{failure.detail}; see /docs", failure.headers).response()

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=GONE)  # nobody receives it; the metrics count it

    async def internal(_: Request, __: Exception) -> Response:
        return Problem(500, "internal error").response()  # the log holds the traceback

    handlers: list[tuple[type[Exception], Any]] = [
        (Problem, own),
        (PoseClientError, of_client),
        (RequestValidationError, of_query),
        (HTTPException, of_route),
        (ClientDisconnect, gone),
        (Exception, internal),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
