"""Servers, frameworks and tools, each on the loop and driver that the page promises."""

import pytest

from . import apps, kit
from .page import RECIPES

# Heading -> (modules that it needs, files, arguments); {port} is filled in.
SERVERS = {
    "uvicorn": ("uvicorn", {"app.py": apps.ASGI}, "--port {port}"),
    "gunicorn with uvicorn": (
        "gunicorn uvicorn_worker", {"app.py": apps.ASGI}, "-b 127.0.0.1:{port}"),
    "gunicorn with its ASGI worker": (
        "gunicorn", {"app.py": apps.ASGI}, "-b 127.0.0.1:{port}"),
    "gunicorn with aiohttp": (
        "gunicorn aiohttp", {"app.py": apps.AIOHTTP}, "-b 127.0.0.1:{port}"),
    "hypercorn": ("hypercorn", {"app.py": apps.ASGI}, "-b 127.0.0.1:{port}"),
    "granian": ("granian", {"app.py": apps.ASGI}, "--port {port}"),
    "daphne": ("daphne", {"app.py": apps.ASGI}, "-p {port}"),
    "Django": ("django uvicorn", {"mysite/asgi.py": apps.DJANGO}, "--port {port}"),
    "FastAPI": ("fastapi uvicorn", {"app.py": apps.FASTAPI}, "--port {port}"),
    "Litestar": ("litestar uvicorn", {"app.py": apps.LITESTAR}, "--port {port}"),
    "Quart": ("quart uvicorn", {"app.py": apps.QUART}, "--port {port}"),
    "Sanic": ("sanic", {"app.py": apps.SANIC},
              "--host 127.0.0.1 --port {port} --single-process"),
}
# Heading -> (modules, files, what a user changes to have another port).
PROGRAMS_THAT_SERVE = {
    "uvicorn.run()": ("uvicorn", {"app.py": apps.ASGI},
                      [('"uring_loop:new_event_loop")',
                        '"uring_loop:new_event_loop", port={port})')]),
    "aiohttp": ("aiohttp", {"app.py": apps.AIOHTTP},
                [("new_event_loop())", 'new_event_loop(), host="127.0.0.1", '
                  "port={port})")]),
    "Quart's own server": ("quart", {"app.py": apps.QUART},
                           [("new_event_loop())", "new_event_loop(), port={port}, "
                             "use_reloader=False)")]),
}
# Heading -> (modules, files, what stands for "...", arguments).
SCRIPTS = {
    "Twisted": ("twisted", {}, "await task.deferLater("
                "reactor, 0, lambda: print(__import__('about').about()))", ""),
    "AnyIO": ("anyio", {}, "print(__import__('about').about())", ""),
    "gRPC": ("grpc", {}, "print(__import__('about').about()); return", ""),
    "Scrapy": ("scrapy", {"scrapy.cfg": "[settings]\ndefault = settings\n",
                          "spider.py": apps.SPIDER}, None, "--loglevel ERROR"),
}
ELSEWHERE = {"Textual", "pytest-asyncio", "pytest-aiohttp", "IPython", "Jupyter",
             "Dask distributed", "Ray", "Ray Serve"}


def test_every_recipe_of_the_page_is_tested():
    assert set(RECIPES) == {*SERVERS, *PROGRAMS_THAT_SERVE, *SCRIPTS, *ELSEWHERE}


@pytest.mark.parametrize("heading", SERVERS)
def test_a_server_serves_on_our_loop(tmp_path, heading):
    modules, files, arguments = SERVERS[heading]
    kit.need(*modules.split())
    kit.serves(tmp_path, heading, files, arguments=arguments)


@pytest.mark.parametrize("heading", PROGRAMS_THAT_SERVE)
def test_a_program_serves_on_our_loop(tmp_path, heading):
    modules, files, replace = PROGRAMS_THAT_SERVE[heading]
    kit.need(*modules.split())
    kit.serves(tmp_path, heading, files, replace=replace)


@pytest.mark.parametrize("heading", SCRIPTS)
def test_a_program_runs_on_our_loop(tmp_path, heading):
    modules, files, dots, arguments = SCRIPTS[heading]
    kit.need(*modules.split())
    replace = [("...", dots)] if dots else []
    out = kit.run(tmp_path, heading, files, replace=replace, arguments=arguments)
    assert kit.said(out) == [kit.expected()], out


@pytest.mark.parametrize("heading", ["pytest-asyncio", "pytest-aiohttp"])
def test_tests_run_on_our_loop(tmp_path, heading):
    kit.need(heading.replace("-", "_"))
    files = {"test_app.py": apps.PYTEST, "pytest.ini":
             "[pytest]\nasyncio_mode = auto\n"}
    kit.write(tmp_path, heading, files)
    with kit.started(tmp_path, "python -m pytest -q -s test_app.py", {}) as process:
        out, _ = process.communicate(timeout=kit.SECONDS)
    assert " passed" in out and kit.said(out) == [kit.expected()], out


def test_a_textual_application_runs_on_our_loop(tmp_path):
    kit.need("textual")
    replace = [("MyApp().run(loop=uring_loop.new_event_loop())",
                "print(MyApp().run(headless=True, loop=uring_loop.new_event_loop()))")]
    out = kit.run(tmp_path, "Textual", {"app.py": apps.TEXTUAL}, replace=replace)
    assert kit.said(out) == [kit.expected()], out


def test_ipythons_await_runs_on_our_loop(tmp_path):
    kit.need("IPython")
    out = kit.run(tmp_path, "IPython", {"cell.ipy":
                  "import about, asyncio\nawait asyncio.sleep(0)\n"
                  "print(about.about())\n"}, arguments="cell.ipy")
    assert kit.said(out) == [kit.expected()], out
