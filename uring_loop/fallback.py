"""The stream transport where there is no ring: asyncio's own, made safe to write to."""

from asyncio import selector_events


class SelectorStreamTransport(selector_events._SelectorSocketTransport):
    """asyncio's transport, but memory given to write() is the caller's again.

    From Python 3.12 on asyncio keeps views of what the socket did not take at once: a
    bytearray changed after write() would change what is sent.
    """

    def write(self, data):
        super().write(own(data))

    def writelines(self, list_of_data):
        super().writelines(list_of_data and [own(data) for data in list_of_data])


def own(data):
    """The same bytes in memory that nobody changes; other objects as they are."""
    if isinstance(data, bytearray):
        return bytes(data)
    if isinstance(data, memoryview) and data.c_contiguous:
        return data.tobytes()
    return data
