"""Notebooks and clusters: the loops of the processes that they start."""

import asyncio
import re

import pytest

from . import kit

# No password, no statistics sent anywhere, and patience where others work as well.
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0",
       "RAY_DEDUP_LOGS": "0", "RAY_raylet_start_wait_time_s": "150"}


def test_dask(tmp_path, monkeypatch):
    kit.need("distributed")
    out = kit.run(tmp_path, "Dask distributed", {})
    # The scheduler and two workers.
    assert kit.loop_names(out) == [kit.driver()] * 3, out


@pytest.mark.parametrize("heading", ["Ray", "Ray Serve"])
def test_ray(tmp_path, monkeypatch, heading):
    kit.need("ray", *(["fastapi"] if heading == "Ray Serve" else []))
    monkeypatch.setattr(kit, "SECONDS", 200)
    out = kit.run(tmp_path, heading, {}, extra=RAY)
    assert kit.loop_names(out)[:1] == [kit.driver()], out


def test_a_kernel_of_jupyter(tmp_path):
    """The server's own loop, and that of a kernel which it has started."""
    kit.need("jupyter_server", "ipykernel", "jupyter_client")
    arguments = ("--ServerApp.ip=127.0.0.1 --ServerApp.port=0 --no-browser "
                 "--allow-root --ServerApp.token=t --ServerApp.password= "
                 f"--ServerApp.root_dir={tmp_path}")
    files = {"jupyter_server_config.py":
             "c.ServerApp.jpserver_extensions = {'about_server': True}\n",
             "about_server.py": """
import asyncio, about
def _jupyter_server_extension_points():
    return [{"module": "about_server"}]
def _load_jupyter_server_extension(app):
    async def tell():
        print("server", about.about(), flush=True)
    app.io_loop.add_callback(tell)
"""}
    command = kit.write(tmp_path, "Jupyter", files)
    extra = {"JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path),
             "JUPYTER_DATA_DIR": str(tmp_path)}
    with kit.started(tmp_path, f"{command} {arguments}", extra) as process:
        url, server = None, None
        for line in process.stdout:
            if '{"loop": ' in line:
                server, = kit.said(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                url = f"127.0.0.1:{found[1]}"
            if url and server:
                break
        assert server == kit.expected()
        assert asyncio.run(kernel_says(url)) == kit.expected()


async def kernel_says(address):
    """Start a kernel by the server's HTTP, run a cell over its WebSocket."""
    import aiohttp
    import json

    cell = "import about\nawait __import__('asyncio').sleep(0)\nprint(about.about())"
    header = {"msg_id": "1", "session": "1", "username": "", "version": "5.3",
              "msg_type": "execute_request", "date": ""}
    request = {"header": header, "parent_header": {}, "metadata": {}, "channel":
               "shell", "buffers": [], "content": {
                   "code": cell, "silent": False, "store_history": False,
                   "user_expressions": {}, "allow_stdin": False}}
    authorization = {"Authorization": "token t"}
    async with aiohttp.ClientSession(headers=authorization) as session:
        async with session.post(f"http://{address}/api/kernels", json={}) as answer:
            kernel = (await answer.json())["id"]
        channels = f"http://{address}/api/kernels/{kernel}/channels"
        async with session.ws_connect(channels) as socket:
            await socket.send_json(request)
            async for message in socket:
                content = json.loads(message.data)["content"]
                if content.get("name") == "stdout":
                    return json.loads(content["text"])
