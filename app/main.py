"""The web application. It starts in about a second, because it never imports torch."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware

from app.settings import Settings, get_settings
from app.store.session import answering
from app.web import assets, errors, pages
from app.web.docs import router as docs
from app.web.middleware import Prefix, SecurityHeaders
from app.web.templating import environment, static_version
from app.web.twins import API, Page, Pages


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application.

    `settings` tells the prefix that a proxy gives us (`root_path`); all else is read from the environment, as the
    workers read it.
    """
    chosen = settings or get_settings()
    app = FastAPI(
        title="Faultline",
        description="Every page of Faultline as JSON. Sign in with a bearer token from your account page.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=5)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Prefix, prefix=chosen.root_path.rstrip("/"))
    errors.install(app)
    app.include_router(assets.router)
    app.include_router(docs)
    app.add_api_route("/healthz", _health, methods=["GET"], include_in_schema=False)
    for module in page_modules():
        app.include_router(module.html)
        app.include_router(module.api)
    return app


def page_modules() -> list[Pages]:
    """Return the pages of every module in `app.web.pages` that has some."""
    names = sorted(module.name for module in pkgutil.iter_modules(pages.__path__))
    modules = [importlib.import_module(f"{pages.__name__}.{name}") for name in names]
    return [module.pages for module in modules if hasattr(module, "pages")]


def all_pages() -> list[Page]:
    """Return every page that has a twin."""
    return [page for module in page_modules() for page in module.found]


def serving() -> FastAPI:
    """The application of a process that does nothing else.

    What starting has left in memory stays for good, so it is not searched for garbage again: a full collection took a
    sixth of a second, and about every tenth page waited for one.
    """
    app = create_app()
    environment()
    gc.collect()
    gc.freeze()
    return app


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    environment()
    static_version()
    yield


def _health() -> dict[str, str]:
    answering()
    return {"status": "ok"}
