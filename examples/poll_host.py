"""A main loop of poll(2), with a uring_loop inside.

    python examples/poll_host.py
"""

import asyncio
import math
import select

import uring_loop


def run(loop: uring_loop.Loop) -> None:
    """Run the loop in this main loop until loop.stop()."""
    ended: list[bool] = []
    guest = loop.guest()
    poll = select.poll()
    with guest.running(on_stop=lambda: ended.append(True)):
        poll.register(guest.fileno(), select.POLLIN)
        while not ended:
            seconds = guest.prepare()
            # Other descriptors of the main loop would be in the same poll().
            poll.poll(None if seconds is None else math.ceil(seconds * 1000))
            if guest.check():
                guest.dispatch()


async def main(loop: uring_loop.Loop) -> None:
    for number in range(3):
        print(f"turn {number} on {loop.backend}")
        await asyncio.sleep(0.01)
    loop.stop()


if __name__ == "__main__":
    loop = uring_loop.new_event_loop()
    task = loop.create_task(main(loop))
    run(loop)
    loop.close()
