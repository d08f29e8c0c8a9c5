"""One pass for several readers."""

import asyncio

from memagent.documents.base import Chunk
from memagent.reading.stream import ChunkStream


def chunks(count, made):
    for number in range(count):
        made.append(number)
        yield Chunk(index=number, name=str(number), text="x", start=number, tokens=2, spans=())


async def take_all(stream, reader, pause=0.0):
    get, leave = stream.reader(reader)
    taken = []
    while (chunk := await get()) is not None:
        taken.append(chunk.index)
        await asyncio.sleep(pause)
    leave()
    return taken


async def test_every_reader_gets_every_chunk_and_each_is_made_once():
    made = []
    stream = ChunkStream(chunks(200, made), 3, lead=8)
    taken = await asyncio.gather(take_all(stream, 0), take_all(stream, 1, 0.0005), take_all(stream, 2))
    assert taken == [list(range(200))] * 3
    assert made == list(range(200))
    assert (stream.made, stream.tokens) == (200, 400)


async def test_the_fast_wait_for_the_slow():
    made = []
    stream = ChunkStream(chunks(100, made), 2, lead=8)
    fast = asyncio.ensure_future(take_all(stream, 0))
    await asyncio.sleep(0.01)
    assert len(made) == 8
    assert await take_all(stream, 1) == list(range(100))
    assert await fast == list(range(100))


async def test_nobody_waits_for_who_left_and_the_rest_is_counted():
    made = []
    stream = ChunkStream(chunks(100, made), 2, lead=8)
    stream.reader(1)[1]()
    get, leave = stream.reader(0)
    for _ in range(20):
        await get()
    leave()
    stream.drain()
    assert stream.made == 100
