"""A Qt window that counts the answers of a server in the same process.

    pip install PySide6-Essentials
    python qt_window.py [--count 100]
"""

import argparse
import asyncio

from PySide6 import QtCore, QtWidgets

import uring_loop
from uring_loop.hosts import QtHost


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def main(label: QtWidgets.QLabel, count: int) -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname())
        for number in range(1, count + 1):
            writer.write(b"%d\n" % number)
            label.setText(f"{(await reader.readline()).decode().strip()} answers")
        writer.close()
        await writer.wait_closed()
    backend = getattr(asyncio.get_running_loop(), "backend", None)
    print(f"the label says {label.text()!r}, backend {backend}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    application = QtWidgets.QApplication([])
    label = QtWidgets.QLabel("no answer yet")
    label.show()
    loop = uring_loop.new_event_loop()
    task = loop.create_task(main(label, arguments.count))
    task.add_done_callback(lambda task: loop.stop())
    with QtHost(loop, QtCore):
        application.exec()
    task.result()
    loop.close()
