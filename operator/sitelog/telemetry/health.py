"""The plain HTTP endpoints for the kubelet and for Prometheus: /healthz, /readyz and /metrics."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], bool]


@asynccontextmanager
async def serve_health(port: int, *, ready: Mapping[str, Check], alive: Mapping[str, Check]) -> AsyncIterator[None]:
    """Serve the endpoints on every address while the block runs.

    Parameters
    ----------
    port : TCP port.
    ready, alive : what has to be true, by the name that the answer gives it.
    """
    app = web.Application()
    app.router.add_get("/healthz", _handler(alive))
    app.router.add_get("/readyz", _handler(ready))
    app.router.add_get("/metrics", _metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", port).start()
        yield
    finally:
        await runner.cleanup()


def _handler(checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(_: web.Request) -> web.StreamResponse:
        results = {name: check() for name, check in checks.items()}
        text = "".join(f"{'ok' if good else 'NO'} {name}\n" for name, good in results.items())
        return web.Response(text=text or "ok\n", status=200 if all(results.values()) else 503)

    return handle


async def _metrics(_: web.Request) -> web.StreamResponse:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
