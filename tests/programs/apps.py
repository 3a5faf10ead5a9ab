"""Applications that answer which loop they run on, one for each framework."""

ASGI = """
from about import about

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    body = about().encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""

AIOHTTP = """
from aiohttp import web
from about import about

async def handle(request):
    return web.Response(text=about())

app = web.Application()
app.add_routes([web.get("/", handle)])
"""

DJANGO = """
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path
from about import about

async def index(request):
    return HttpResponse(about())

urlpatterns = [path("", index)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="test")
application = get_asgi_application()
"""

FASTAPI = """
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from about import about

app = FastAPI()

@app.get("/", response_class=PlainTextResponse)
async def index():
    return about()
"""

LITESTAR = """
from litestar import Litestar, MediaType, get
from about import about

@get("/", media_type=MediaType.TEXT)
async def index() -> str:
    return about()

app = Litestar([index])
"""

QUART = """
from quart import Quart
from about import about

app = Quart("app")

@app.route("/")
async def index():
    return about()
"""

SANIC = """
from sanic import Sanic
from sanic.response import text
from about import about

app = Sanic("app")

@app.get("/")
async def index(request):
    return text(about())
"""

SPIDER = """
import scrapy
from about import about

class Spider(scrapy.Spider):
    name = "spider"
    # Of this process only: nothing is fetched.
    start_urls = ["data:,hello"]

    async def parse(self, response):
        print(about(), flush=True)
        yield {}
"""

TEXTUAL = """
from textual.app import App
from about import about

class MyApp(App):
    def on_mount(self):
        self.exit(about())
"""

PYTEST = """
from about import about

async def test_it():
    print(about(), flush=True)
"""
